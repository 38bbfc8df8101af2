"""What can be broken by hand on a release that runs, and the claim of a proof that has to name it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.prove.planner import KINDS

from .kube import Kube, eventually
from .releases import HELLO, SMS, Stage, rolled_out

Json = dict[str, Any]
Change = Callable[[Json], None]
PAGES = Path(__file__).parents[1] / "releases/pages"
CHARTS = PAGES.parent / "charts"
RELAY = str(PAGES / "relay.yml")
GATEWAYS = "istio-system"
LIMIT = "envoy.filters.http.local_ratelimit"


@dataclass(frozen=True)
class Break:
    """One change of one object of a release, and what a proof has to say of it.

    ``release``: name of the page in releases/, or its path. ``claim``: kind of a claim that fails; ``says``: words of
    what it has seen. ``after``: waits until the change holds (and again, when it is put back), where it takes longer
    than the mesh takes for routes.
    """

    what: str
    release: str
    kind: str
    name: str
    namespace: str
    change: Change
    claim: str
    says: str
    after: Callable[[Kube], None] | None = None

    @property
    def page(self) -> str:
        """Name of the release, as reports have it."""
        return Path(self.release).stem


def _destinations(item: Json) -> Iterator[Json]:
    for rule in item["spec"]["http"]:
        yield from rule.get("route", [])


def weight(item: Json) -> None:
    for rule in item["spec"]["http"]:
        if len(rule.get("route", [])) > 1:
            for share, to in zip((70, 30), rule["route"], strict=True):
                to["weight"] = share


def swapped(item: Json) -> None:
    for rule in item["spec"]["http"]:
        if len(rule.get("route", [])) > 1:
            first, second = rule["route"]
            first["weight"], second["weight"] = second["weight"], first["weight"]


def _cookies(item: Json, old: str, new: str) -> None:
    for to in _destinations(item):
        added = to.get("headers", {}).get("response", {}).get("add", {})
        if "Set-Cookie" in added:
            added["Set-Cookie"] = added["Set-Cookie"].replace(old, new)


def cookie_path(item: Json) -> None:
    _cookies(item, "Path=/", "Path=/shop")


def cookie_value(item: Json) -> None:
    _cookies(item, "=v2;", "=v1;")


def subset_label(item: Json) -> None:
    for subset in item["spec"]["subsets"]:
        subset["labels"]["version"] = "v1"


def no_mirror(item: Json) -> None:
    for rule in item["spec"]["http"]:
        rule.pop("mirrors", None)


def mtls_off(item: Json) -> None:
    item["spec"]["mtls"]["mode"] = "PERMISSIVE"


def open_to_all(item: Json) -> None:
    item["spec"]["rules"] = [{}]


def no_rule(item: Json) -> None:
    item["spec"].pop("rules")


def limit(item: Json) -> None:
    for patch in item["spec"]["configPatches"]:
        for descriptor in patch["patch"]["value"]["typed_per_filter_config"][LIMIT]["value"]["descriptors"]:
            descriptor["token_bucket"]["max_tokens"] = 1000


def limit_host(item: Json) -> None:
    for patch in item["spec"]["configPatches"]:
        patch["match"]["routeConfiguration"]["vhost"]["name"] = "elsewhere.local:80"


def override_gone(item: Json) -> None:
    item["spec"]["http"] = [rule for rule in item["spec"]["http"] if ":header:" not in rule["name"]]


def canary_for_all(item: Json) -> None:
    for rule in item["spec"]["http"]:
        if rule["name"].endswith(":default"):
            rule["route"][0]["destination"]["subset"] = "v2"


def never_taken_out(item: Json) -> None:
    del item["spec"]["trafficPolicy"]["outlierDetection"]


def tool_elsewhere(item: Json) -> None:
    for to in _destinations(item):
        to["destination"]["host"] = "nothing.default.svc.cluster.local"


def header_gone(item: Json) -> None:
    for rule in item["spec"]["http"]:
        del rule["headers"]["response"]["set"]["x-frame-options"]


def version_swapped(item: Json) -> None:
    for to in _destinations(item):
        said = to["headers"]["response"]["set"]
        said["x-served-by-version"] = {"v1": "v2", "v2": "v1"}[said["x-served-by-version"]]


def another_origin(item: Json) -> None:
    for rule in item["spec"]["http"]:
        rule["corsPolicy"]["allowOrigins"] = [{"exact": "https://stranger.invalid"}]


# The example's program, but for one header that it does not hand on.
FORGETFUL = """
import runpy
import textcheck.settings as settings

settings.FORWARDED = tuple(name for name in settings.FORWARDED if name != "x-version")
runpy.run_module("textcheck", run_name="__main__")
"""


def header_forgotten(item: Json) -> None:
    for container in item["spec"]["template"]["spec"]["containers"]:
        container["command"] = ["/usr/bin/python3.11", "-S", "-c", FORGETFUL]


def endless(item: Json) -> None:
    for rule in item["spec"]["http"]:
        del rule["timeout"]


def asked_once(item: Json) -> None:
    for rule in item["spec"]["http"]:
        rule["retries"] = {"attempts": 0}


def faultless(item: Json) -> None:
    for rule in item["spec"]["http"]:
        rule.pop("fault", None)


def no_redirect_to_tls(item: Json) -> None:
    for server in item["spec"]["servers"]:
        server["tls"].pop("httpsRedirect", None)
        if not server["tls"]:
            del server["tls"]


def sent_elsewhere(item: Json) -> None:
    for rule in item["spec"]["http"]:
        if rule.get("redirect", {}).get("uri") == "/new":
            rule["redirect"]["uri"] = "/elsewhere"


def case_gone(item: Json) -> None:
    item["spec"]["http"] = [rule for rule in item["spec"]["http"] if ":when-1:" not in rule["name"]]


def led_to(service: str, port: int) -> Change:
    """Lead every rule to another service of the release."""

    def change(item: Json) -> None:
        for to in _destinations(item):
            _, dot, rest = to["destination"]["host"].partition(".")
            to["destination"] |= {"host": f"{service}{dot}{rest}", "port": {"number": port}}

    return change


def nobody_refused(item: Json) -> None:
    item["spec"]["rules"][0]["to"] = [{"operation": {"paths": ["/nowhere"]}}]


def let_through(item: Json) -> None:
    item["spec"]["outboundTrafficPolicy"]["mode"] = "ALLOW_ANY"


def unencrypted(item: Json) -> None:
    for level in item["spec"]["trafficPolicy"]["portLevelSettings"]:
        level["tls"] = {"mode": "DISABLE"}


def trusted_proxy(item: Json) -> None:
    """What istio_trusted_proxies: 1 makes of the gateway: the header is left in, and its last entry is believed."""
    for patch in item["spec"]["configPatches"]:
        manager = patch["patch"]["value"].get("typed_config", {})
        if manager.pop("early_header_mutation_extensions", None):
            manager["xff_num_trusted_hops"] = 1


def mail_password(item: Json) -> None:
    item["data"] = {key: base64.b64encode(b"of-somebody-else").decode() for key in item["data"]}


def middle_anew(kube: Kube) -> None:
    rolled_out(kube, "relay", "middle-v1")


def told_to_alertmanager(kube: Kube) -> None:
    """Wait until the cluster's Alertmanager has read what the operator makes of the Secret.

    The kubelet brings a changed Secret into a pod within seconds; the time of the last reload tells.
    """
    at = "/api/v1/namespaces/monitoring/services/alertmanager:http-web/proxy/metrics"
    name = "alertmanager_config_last_reload_success_timestamp_seconds"

    def reloaded() -> float:
        lines = kube.text("get", "--raw", at).splitlines()
        return max(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    before = reloaded()
    eventually(lambda: reloaded() > before, seconds=180, what="Alertmanager has read its configuration anew")


def _hello(what: str, kind: str, name: str, change: Change, claim: str, says: str, namespace: str = HELLO) -> Break:
    return Break(what, HELLO, kind, name, namespace, change, claim, says)


BREAKS = (
    _hello("a weight", "virtualservice", "hello-entry", weight, "share", "got v2"),
    _hello("a subset's label", "destinationrule", "frontend", subset_label, "share", "got v1, 0 got v2"),
    _hello("the label of the next hop's subset", "destinationrule", "model", subset_label, "chain", "for v2 at"),
    _hello("the limit", "envoyfilter", "hello-rate-limit", limit, "limit", "came through", GATEWAYS),
    _hello("the limit's host", "envoyfilter", "hello-rate-limit", limit_host, "limit", "came through", GATEWAYS),
    _hello("the cookie's path", "virtualservice", "hello-entry", cookie_path, "sticky", "path /shop instead of /"),
    _hello("the cookie's value", "virtualservice", "hello-entry", cookie_value, "sticky", "=v1 instead of v2"),
    _hello("mutual TLS off", "peerauthentication", "hello", mtls_off, "mtls", "without mutual TLS"),
    _hello("a rule that lets everybody in", "authorizationpolicy", "model-v1", open_to_all, "access", "instead of 403"),
    _hello("a rule that is gone", "authorizationpolicy", "model-v2", no_rule, "access", "model-v2"),
    Break(
        "a missing mirror", SMS, "virtualservice", "model-service-vs", "default", no_mirror, "shadow",
        # Prometheus' own reading may be among those that were counted.
        "copies of 40 requests instead of 40",
    ),
    Break("an override", "spam-detection", "virtualservice", "spam-detection-entry", "spam-detection", override_gone,
          "override", "should be seen"),
    Break("what everybody gets", SMS, "virtualservice", "my-vs", "default", canary_for_all, "default",
          "only v1 should be seen"),
    Break("outlier detection", "sentiment", "destinationrule", "sentiment-model-destination", "default",
          never_taken_out, "circuit-breaking", "no pod is ever taken out"),
    Break("a tool's route", SMS, "virtualservice", "prometheus-vs", "default", tool_elsewhere, "tool", "answered 503"),
    Break("a header that is not forwarded", RELAY, "deployment", "middle-v1", "relay", header_forgotten, "chain", "met",
          after=middle_anew),
    Break("a header of a path", RELAY, "virtualservice", "relay-entry", "relay", header_gone, "headers",
          "x-frame-options is not there instead of DENY"),
    Break("the version in a header", RELAY, "virtualservice", "relay-entry", "relay", version_swapped,
          "version-header", "x-served-by-version is"),
    Break("an origin", RELAY, "virtualservice", "relay-entry", "relay", another_origin, "cors",
          "access-control-allow-origin for https://app.example.org is not there"),
    _hello("numTrustedProxies 1", "envoyfilter", "slipway-client-address", trusted_proxy, "limit",
           "with X-Forwarded-For changing", GATEWAYS),
    Break("the mail's Secret", "app-frontend", "secret", "smtp", "app-frontend", mail_password, "alert", "was not read",
          after=told_to_alertmanager),
)  # fmt: skip

# Kinds of claims that nothing here breaks: Prometheus needs minutes to notice, or no page of these has them. Unit tests
# hold their proofs against answers that are wrong.
UNBROKEN = ("address", "answer", "dashboard", "listed", "metrics", "queries", "rules", "withdrawn")


def _alone(page: str, what: str, kind: str, name: str, change: Change, claim: str, says: str) -> Break:
    return Break(what, str(PAGES / f"{page}.yml"), kind, name, page, change, claim, says)


# Of pages that are released alone, each in its own test.
ALONE = (
    _alone("relay", "a timeout", "virtualservice", "relay-entry", endless, "timeout",
           "an answer made slow came with 200"),
    _alone("relay", "tries again", "virtualservice", "middle", asked_once, "retries", "not answered with 200"),
    _alone("faults", "a fault", "virtualservice", "faults-entry", faultless, "faults", "aborted; "),
    _alone("redirect", "a redirect to TLS", "gateway", "redirect", no_redirect_to_tls, "tls",
           "instead of 301 to https"),
    _alone("paths", "where a redirect leads", "virtualservice", "paths-entry", sent_elsewhere, "redirect",
           "instead of /new"),
    _alone("paths", "a case", "virtualservice", "paths-entry", case_gone, "case", "answered instead of front v2"),
    _alone("paths", "a host of its own", "virtualservice", "paths-entry-back-paths-test", led_to("front", 8080),
           "entry", "answered instead of back"),
    Break("the limit of a value", str(PAGES / "classes.yml"), "envoyfilter", "classes-rate-limit", GATEWAYS, limit,
          "limit", "came through"),
    _alone("outside", "a token", "authorizationpolicy", "front-jwt", nobody_refused, "jwt", "without a token"),
    _alone("outside", "a way out", "sidecars.networking.istio.io", "outside", let_through, "egress",
           "what is not named is let through"),
    _alone("outside", "TLS to a host outside", "destinationrule", "outside-pay-outside-test", unencrypted, "outside",
           "nothing encrypts what goes to"),
    _alone("protocols", "WebSocket", "virtualservice", "protocols-entry", led_to("kv", 2379), "websocket",
           "an upgrade is answered"),
    _alone("protocols", "gRPC", "virtualservice", "protocols-entry-kv-protocols-local", led_to("front", 8080), "grpc",
           "which is no gRPC"),
)  # fmt: skip


# Of charts, which are released alone, too.
CHARTED = (
    Break("the weight of versions that do not tell", str(CHARTS / "quiet.yml"), "virtualservice", "quiet", "quiet",
          swapped, "counted", "canary got"),
)  # fmt: skip


def is_named(stage: Stage, each: Break, page: str = "") -> None:
    """Break it, and see the proof of its page name it. ``page``: where the page was written to, if not as it is."""
    with broken(stage.kube, each):
        # Of the other claims nothing is asked: they take their time, and are no part of this.
        run = stage.prove(page or each.release, prove_skip=sorted(set(KINDS) - {each.claim}))
    assert run.status != 0, f"{each.what} is broken, and nothing failed"
    failed = [claim for claim in stage.claims(each.page) if claim["state"] == "failed"]
    named = [claim for claim in failed if claim["kind"] == each.claim]
    assert named, [f"{claim['id']}: {claim['seen']}" for claim in failed]
    assert any(each.says in claim["seen"] for claim in named), [claim["seen"] for claim in named]
    assert f"{named[0]['id']}: {named[0]['title']}" in run.output
    assert "look at: " in run.output
    assert "Traceback" not in run.output


def are_named(stage: Stage, page: str) -> None:
    """Break one thing of a page after the other, each named by its proof. The last proof is of all put right again."""
    own = [each for each in (*ALONE, *CHARTED) if each.page == Path(page).stem]
    for each in own:
        is_named(stage, each, page)
    if own:
        stage.prove(page, prove_skip=sorted(set(KINDS) - {each.claim for each in own})).expect()


@contextmanager
def broken(kube: Kube, one: Break) -> Iterator[None]:
    """Break it by hand, and put it back however the test ends."""
    before = kube("get", one.kind, one.name, f"--namespace={one.namespace}")
    item = json.loads(json.dumps(before))
    one.change(item)
    part = "data" if one.kind == "secret" else "spec"
    assert item[part] != before[part], "this breaks nothing"

    def put(value: Json) -> None:
        patch = json.dumps([{"op": "replace", "path": f"/{part}", "value": value}])
        kube.text("patch", one.kind, one.name, f"--namespace={one.namespace}", "--type=json", f"--patch={patch}")
        if one.after:
            one.after(kube)

    try:
        put(item[part])
        yield
    finally:
        put(before[part])
