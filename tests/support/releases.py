"""Releases on a live cluster, applied, proved and taken away as a user does it; mail goes to a sink in the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .checkout import Checkout, OnLine, Run, ignored
from .kube import Kube, eventually

Json = dict[str, Any]
HELLO, SMS = "hello", "sms-checker"
# The four documented systems.
DOCUMENTED = ("sms-checker", "sentiment", "app-frontend", "spam-detection")
# Kinds of claims that a proof of each exercises, on a cluster with monitoring and nothing of Grafana.
_ALWAYS = {"address", "mtls", "access", "chain", "dashboard"}
EXERCISED: dict[str, set[str]] = {
    "hello": _ALWAYS | {"share", "sticky", "limit"},
    "sms-checker": _ALWAYS | {"default", "share", "sticky", "override", "shadow", "alert", "tool", "metrics"},
    "sentiment": _ALWAYS | {"default", "override", "limit", "tool", "metrics"},
    "app-frontend": _ALWAYS | {"share", "sticky", "limit", "alert", "metrics"},
    "spam-detection": _ALWAYS | {"share", "override", "limit"},
}
# Those whose alerts are mailed.
MAILED = ("sms-checker", "app-frontend", "hello")
# Seconds that a proof may take without alerts, the start and the end of its clients included, and with them.
SECONDS, ALERT_SECONDS = 240, 480
# What the sink asks for, and what the releases' Secrets get; of nothing but this cluster.
PASSWORD = "of-this-test"
SINK = "slipway-mail"
SECRETS = {"SMTP_PASSWORD": PASSWORD, "GITHUB_TOKEN": "token-of-this-test", "SPAM_API_KEY": "key-of-this-test"}


class Stage:
    """A checkout's cluster as the place of releases."""

    def __init__(self, checkout: Checkout, page: Json) -> None:
        self.checkout, self.kube = checkout, checkout.kube
        self.parts = [name for name, on in page["cluster_parts"].items() if on]
        self.parts += ["gateway_api"] if page.get("cluster_gateway_api") else []
        self.mail = {"release_mail": {"server": f"mail.{SINK}.svc.{page['cluster_dns_domain']}:2525", "tls": False}}

    def prepare(self, *, mail: bool = True) -> None:
        """Put the images of the examples on the mirror, tell the nodes, and put the mail sink into the cluster."""
        parts = ["kubernetes", "flannel", "mirror", "tools", *self.parts, "apps"]
        wanted = json.dumps({"artifacts_parts": parts})
        books = (f"playbooks/phases/{name}.yml" for name in ("artifacts", "mirror", "nodes"))
        self.checkout.playbook(*books, "-e", wanted, timeout=3600).expect()
        if mail:
            self.checkout.make("mail-sink", timeout=900, SMTP_PASSWORD=PASSWORD).expect()

    def play(
        self,
        book: str,
        page: str,
        *arguments: str,
        timeout: float = 1200,
        on_line: OnLine = ignored,
        **given: Any,
    ) -> Run:
        """Play a book for a page (a name of releases/, or a path); ``given`` are variables."""
        path = page if "/" in page else f"releases/{page}.yml"
        variables = json.dumps({**self.checkout.variables, **self.mail, **given, "release": path})
        command = (".venv/bin/ansible-playbook", book, "-e", variables, *arguments)
        return self.checkout.watch(command, timeout=timeout, environment=SECRETS, on_line=on_line)

    def release(self, page: str, *arguments: str, **given: Any) -> Run:
        """Release a page while clients use it; what that changes is proved, unless ``prove`` says otherwise."""
        return self.play("finalization.yml", page, *arguments, **{"prove": "during", **given})

    def prove(self, page: str, *arguments: str, **given: Any) -> Run:
        """Prove a page."""
        return self.play("playbooks/prove.yml", page, *arguments, timeout=4 * SECONDS, **given)

    def take_away(self, pages: Iterable[str]) -> None:
        """Take away those releases that the cluster has anything of; what of that fails is in the log."""
        kinds = "deployments,services,configmaps,secrets,serviceaccounts,virtualservices"
        found = self.kube("get", kinds, "--all-namespaces", "--selector=slipway.io/release")["items"]
        there = {item["metadata"]["labels"]["slipway.io/release"] for item in found}
        for page in pages:
            if Path(page).stem in there:
                self.release(page, release_state="absent", release_delete_claims=["*"])

    def report(self, name: str) -> Path:
        """The report of the last proof of a release."""
        return self.checkout.state / "report" / name / "report.json"

    def claims(self, name: str) -> list[Json]:
        """Its claims."""
        found: list[Json] = json.loads(self.report(name).read_text())["claims"]
        return found

    def kinds(self, name: str, state: str) -> set[str]:
        """Kinds of its claims that are in a state."""
        return {claim["kind"] for claim in self.claims(name) if claim["state"] == state}

    def passed(self, name: str) -> None:
        """Assert that none failed, and print what of it was not exercised."""
        assert {claim["id"]: claim["seen"] for claim in self.claims(name) if claim["state"] == "failed"} == {}
        left = [claim["id"] for claim in self.claims(name) if claim["state"] in ("configured", "skipped")]
        print(f"{name}: not exercised: {', '.join(left) or 'nothing'}")

    def proved(self, name: str) -> None:
        """Assert that none failed and each kind was exercised that has to be, the mail of its alert included."""
        self.passed(name)
        assert self.kinds(name, "passed") >= EXERCISED.get(name, set())
        for claim in self.claims(name):
            if claim["kind"] == "alert" and name in MAILED and claim["state"] == "passed":
                assert "mail read" in claim["seen"]


@contextmanager
def made(purpose: str, *, mail: bool = True, **settings: Any) -> Iterator[Stage]:
    """A cluster from nothing as a stage, with these settings on its page; it is gone at the end."""
    checkout = Checkout(purpose)
    checkout.fresh(**settings)
    try:
        checkout.make("up", timeout=5400).expect()
        stage = Stage(checkout, yaml.safe_load(checkout.page.read_text()))
        stage.prepare(mail=mail)
        yield stage
    finally:
        checkout.make("down")
        checkout.remove()


def rolled_out(kube: Kube, namespace: str, deployment: str) -> None:
    """Wait until a Deployment has only pods of its newest template, and none that is going."""
    where = f"--namespace={namespace}"
    kube.text("rollout", "status", f"deployment/{deployment}", where, "--timeout=180s", timeout=200)

    def alone() -> bool:
        found = kube("get", "pods", where)["items"]
        return not [pod for pod in found if pod["metadata"].get("deletionTimestamp")]

    eventually(alone, seconds=90, what=f"the old pods of {deployment} are gone")
