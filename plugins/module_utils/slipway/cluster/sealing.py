"""The rotation of the key that encrypts Secrets: from what controllers have, the steps that are left.

In Kubernetes' order: every API server can read with the new key, then every one writes with it, then all Secrets are
written again, then the old key goes. Pure: texts of EncryptionConfigurations in, texts out.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..errors import SlipwayError

FILE = "/etc/kubernetes/encryption/config.yml"
NAME = re.compile(r"slipway-(\d+)")
# What a step is for, in words of the report.
SAME = "finish what was cut off"
ADD = "every API server reads with the new key, too"
FIRST = "every API server writes with the new key"
DROP = "the old key goes"


@dataclass(frozen=True)
class Key:
    """A key of secretbox."""

    name: str
    secret: str = field(repr=False)

    @property
    def number(self) -> int:
        """Tell its age: the older, the lower."""
        return int(self.name.removeprefix("slipway-"))


def new_key(name: str) -> Key:
    """Make a key, as role control_plane does."""
    return Key(name, base64.b64encode(secrets.token_urlsafe(24).encode("ascii")).decode("ascii"))


def render(keys: list[Key]) -> str:
    """Write the configuration with these keys, the first of which writes; as the template of role control_plane."""
    lines = "".join(f"            - name: {key.name}\n              secret: {key.secret}\n" for key in keys)
    return f"""\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox:
          keys:
{lines}      # Reads what was written before encryption was on.
      - identity: {{}}
"""


def keys_of(text: str, controller: str) -> list[Key]:
    """Read the keys out of a configuration. Raises SlipwayError for one that is not ours."""
    try:
        (entry,) = yaml.safe_load(text)["resources"]
        box, identity = entry["providers"]
        found = [Key(str(key["name"]), str(key["secret"])) for key in box["secretbox"]["keys"]]
        ours = entry["resources"] == ["secrets"] and identity == {"identity": {}} and found
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        ours, found = False, []
    if not ours or not all(NAME.fullmatch(key.name) for key in found):
        what = f"{FILE} of {controller} is not as Slipway writes it: secretbox with keys slipway-1, slipway-2, … and "
        raise SlipwayError("sealing-keys", f"{what}identity, for secrets alone. Nothing was changed. Rotate it by hand")
    return found


def steps(configurations: Mapping[str, str], make: Callable[[str], Key] = new_key) -> list[dict[str, Any]]:
    """Give the steps that are left, each with the configuration of every controller. Raises SlipwayError.

    The first step is what is there: API servers that a run which was cut off has not restarted are restarted then.
    """
    there = {name: keys_of(text, name) for name, text in configurations.items()}
    known = {key.name: key for keys in there.values() for key in keys}
    for name, keys in there.items():
        if any(known[key.name] != key for key in keys):
            what = f"controllers have different keys of one name ({FILE}, {name}). Nothing was changed"
            raise SlipwayError("sealing-keys", f"{what}. Find out which of them opens the Secrets")
    order = sorted(known.values(), key=lambda key: key.number)
    if len(order) > 2:
        names = ", ".join(key.name for key in order)
        raise SlipwayError("sealing-keys", f"there are more than two keys in {FILE}: {names}. Nothing was changed")
    old, new = order if len(order) == 2 else (order[0], make(f"slipway-{order[0].number + 1}"))
    before, both, after, last = [old], [old, new], [new, old], [new]
    at = {name: (before, both, after, last).index(keys) for name, keys in there.items()}
    texts = [render(keys) for keys in (before, both, after, last)]
    told = {1: ADD, 2: FIRST, 3: DROP}
    first = {"told": SAME, "rewrite": False, "files": dict(configurations)}
    return [first] + [
        {
            "told": told[to],
            # They are written again before the old key goes, also if it has gone somewhere already.
            "rewrite": to == 3,
            "files": {name: texts[max(to, at[name])] for name in there},
        }
        for to in range(min(at.values()) + 1, 4)
    ]
