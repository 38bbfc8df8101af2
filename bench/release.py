"""The objects of a release for somebody who applies them by hand: ``python -m bench.release PAGE BUNDLE_JSON FILE``.

Its Secrets have values that are made up, as the page allows.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from slipway.release.environment import Environment
from slipway.release.planner import plan
from slipway.release.spec import load


def objects(page: Path, bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """Give all objects of a release, in the order of its plan."""
    images = bundle["images"].values()
    known = frozenset(f"{image['name']}:{image['tag']}" for image in images)
    alertmanager = bundle["images"]["alertmanager"]
    found = Environment(images=known, alertmanager_image=f"{alertmanager['name']}:{alertmanager['tag']}")
    made = plan(load(page), found)
    random = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret["name"], "namespace": made.namespace},
            "stringData": {key: secrets.token_hex(16) for key in secret["keys"]},
        }
        for secret in made.secrets
    ]
    # A namespace comes first.
    return sorted([*random, *made.objects], key=lambda item: item["kind"] != "Namespace")


if __name__ == "__main__":
    page, bundle, file = map(Path, sys.argv[1:])
    file.write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(page, json.loads(bundle.read_text()))})
    )
