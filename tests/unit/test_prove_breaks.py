"""The breakages of the live tests: each changes what the release really has, and no claim of the list is forgotten."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.breaks import ALONE, BREAKS, CHARTED, UNBROKEN, Break
from tests.support.istio import rendered
from tests.support.release import RELEASES, one

Json = dict[str, Any]
KINDS = {
    "virtualservice": "VirtualService",
    "destinationrule": "DestinationRule",
    "envoyfilter": "EnvoyFilter",
    "peerauthentication": "PeerAuthentication",
    "authorizationpolicy": "AuthorizationPolicy",
    "deployment": "Deployment",
    "gateway": "Gateway",
    "sidecars.networking.istio.io": "Sidecar",
}
# The twelve that have to be there, each by the words of its breakage.
WANTED = (
    "a weight", "a subset's label", "the limit", "the limit's host", "the mail's Secret", "the cookie's path",
    "the cookie's value", "a missing mirror", "mutual TLS off", "a rule that is gone", "a header that is not forwarded",
    "numTrustedProxies 1",
)  # fmt: skip
_plans: dict[str, Plan] = {}

each_break = pytest.mark.parametrize("each", [*BREAKS, *ALONE], ids=lambda each: each.what)


def planned(each: Break) -> Plan:
    path = Path(each.release) if "/" in each.release else RELEASES / f"{each.release}.yml"
    return _plans.setdefault(each.release, plan(load(path)))


def there(each: Break) -> Json:
    """What the cluster has under that name."""
    if each.kind == "secret":
        (secret,) = (one for one in planned(each).secrets if one["name"] == each.name)
        return {"data": dict.fromkeys(secret["keys"], "b2Y=")}
    if each.name == "slipway-client-address":
        return next(item for item in rendered("mesh.yml.j2") if item["metadata"]["name"] == each.name)
    return one(planned(each), KINDS[each.kind], each.name)


def test_the_twelve_are_there() -> None:
    assert set(WANTED) <= {each.what for each in BREAKS}
    assert len({each.what for each in BREAKS}) == len(BREAKS) >= 12


def test_each_kind_of_claim_is_broken_or_says_why_not() -> None:
    broken = {each.claim for each in (*BREAKS, *ALONE, *CHARTED)}
    assert {*UNBROKEN} | broken == set(prove.planner.KINDS)
    assert not {*UNBROKEN} & broken


@each_break
def test_it_breaks_something_that_the_release_has(each: Break) -> None:
    before = there(each)
    item = copy.deepcopy(before)
    each.change(item)
    assert item != before
    assert before.get("metadata", {}).get("namespace", each.namespace) == each.namespace


@each_break
def test_its_claim_is_one_that_is_shown(each: Break) -> None:
    """By requests, or by what the proxies hold."""
    facts = planned(each).facts
    circumstances = {"mail_sink": True, "monitoring": True, "test_header": each in ALONE}
    claims = [claim for claim in prove.plan(facts, circumstances)["claims"] if claim["kind"] == each.claim]
    assert any(claim["state"] == "asked" or claim["reads"] for claim in claims), [each["reason"] for each in claims]


def test_what_forgets_the_header_is_the_program_itself() -> None:
    """As in the image, where nothing but apps/ is on the path."""
    from tests.apps.hops import APPS
    from tests.support import breaks

    spec = importlib.util.spec_from_file_location("forgetful_settings", APPS / "textcheck/settings.py")
    assert spec
    assert spec.loader
    settings: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(settings)
    assert "x-version" in settings.forwarded("")
    text = breaks.FORGETFUL.replace("import runpy\nimport textcheck.settings as settings\n", "")
    exec(text.partition("runpy")[0], {"settings": settings})  # noqa: S102
    assert "x-version" not in settings.forwarded("")
    assert "traceparent" in settings.forwarded("")
