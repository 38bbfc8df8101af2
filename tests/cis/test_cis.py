"""The CIS benchmark on a cluster as shipped, etcd that is moved to its own user, and changes of the audit log.

The tests build on each other, in this order, on one cluster of three controllers.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import kube_bench
from tests.support.checkout import Checkout
from tests.support.hardened import CONTROLLERS, asking, inside
from tests.support.kube import eventually
from tests.support.lab import rewrite_page
from tests.support.typed import typed

LOG = "/var/log/kubernetes/audit/audit.log"
# Of a cluster that was founded before etcd had a user: the reverse of what the module etcd_user does.
AS_ROOT = r"""
set -eu
rm -f /etc/kubernetes/patches/etcd.yaml
systemctl disable --now slipway-etcd.path slipway-etcd.service
rm -f /etc/systemd/system/slipway-etcd.*
systemctl daemon-reload
sed -e '/^    runAsUser: /d' -e '/^    runAsGroup: /d' -e '/^    securityContext:$/,/^        - ALL$/d' \
  -e '/path: .var.lib.slipway.etcd$/{s#: .*#: /etc/kubernetes/pki/etcd#;n;s/Directory$/DirectoryOrCreate/}' \
  /etc/kubernetes/manifests/etcd.yaml > /root/etcd.yaml
mv /root/etcd.yaml /etc/kubernetes/manifests/etcd.yaml
for _ in $(seq 1 120); do
  [ "$(ps -o user= -C etcd)" = root ] && break
  sleep 0.5
done
chown -R root:root /var/lib/etcd
userdel etcd
rm -rf /var/lib/slipway/etcd
"""


def page(clone: Checkout, **values: Any) -> None:
    clone.page.write_text(rewrite_page(clone.settings, values))


def arguments(clone: Checkout, node: str) -> dict[str, str]:
    """The arguments with which the API server of a controller runs."""
    words = inside(clone, node, "tr '\\0' '\\n' < /proc/$(pgrep --exact kube-apiserver)/cmdline").splitlines()
    return dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return kube_bench.build(tmp_path_factory.mktemp("kube-bench"))


def test_no_check_fails_and_every_warning_is_answered(clone: Checkout, made: tuple[Path, Path]) -> None:
    clone.make("up").expect()
    found = {
        **{name: kube_bench.run(made, f"{clone.name}-{name}", kube_bench.ALL) for name in CONTROLLERS},
        "node-1": kube_bench.run(made, f"{clone.name}-node-1", ("node",)),
    }
    for name, results in found.items():
        print(f"{name}: {dict(Counter(one.status for one in results))}")
    assert min(len(results) for results in found.values()) > 20
    left = {name: kube_bench.unanswered(results) for name, results in found.items()}
    assert not any(left.values()), left


def test_etcd_runs_as_its_own_user(clone: Checkout) -> None:
    for name in CONTROLLERS:
        assert inside(clone, name, "ps -o user= -C etcd").split() == ["etcd"]
        assert inside(clone, name, "find /var/lib/etcd ! -user etcd").split() == []


def test_a_cluster_that_was_founded_before_is_moved_over(clone: Checkout) -> None:
    """One controller after the other: the API answers all the time."""
    for name in CONTROLLERS:
        inside(clone, name, AS_ROOT)
    eventually(lambda: clone.make("status").status == 0, seconds=240, what="etcd is well as root")
    with asking(clone) as lost:
        done = clone.make("up").expect()
    print(f"make up that moves etcd of three controllers: {done.seconds:.0f} s")
    assert lost == []
    test_etcd_runs_as_its_own_user(clone)
    assert clone.make("up").expect().total("changed") == 0


def test_a_killed_move_is_finished_by_the_next_run(clone: Checkout) -> None:
    inside(clone, "ctrl-2", AS_ROOT)
    eventually(lambda: clone.make("status").status == 0, seconds=240, what="etcd is well as root")
    clone.kill_at("control_plane : Have etcd run as a user of its own", "up", after=4.0)
    clone.make("up").expect()
    test_etcd_runs_as_its_own_user(clone)


def test_renewed_keys_reach_etcd(clone: Checkout) -> None:
    with asking(clone) as lost:
        clone.make("renew-certificates", "DAYS=400").expect()
    assert lost == []
    for name in CONTROLLERS:
        script = "cmp /etc/kubernetes/pki/etcd/{0} /var/lib/slipway/etcd/{0}"
        inside(clone, name, "; ".join(["set -e", *(script.format(key) for key in ("server.key", "peer.crt"))]))


def test_the_log_says_who_did_what_and_no_secret(clone: Checkout) -> None:
    clone.kube.text("create", "secret", "generic", "told", "--namespace=default", "--from-literal=word=barnacle")
    clone.kube.text("delete", "secret", "told", "--namespace=default")

    def events() -> list[dict[str, Any]]:
        # --raw: with the API server that has answered, whichever it was.
        lines = "".join(inside(clone, name, f"grep --text '\"told\"' {LOG} || true") for name in CONTROLLERS)
        return [json.loads(line) for line in lines.splitlines()]

    eventually(lambda: {"create", "delete"} <= {event["verb"] for event in events()}, seconds=30, what="both are told")
    assert {event["user"]["username"] for event in events()} == {"kubernetes-admin"}
    asked = [typed(clone, "how-to/audit-log", "sudo python3 - <<'END'", node=name).expect() for name in CONTROLLERS]
    said = "".join(one.output for one in asked)
    for verb, code in (("create", 201), ("delete", 200)):
        assert f" kubernetes-admin {verb} told {code}\n" in said
    for name in CONTROLLERS:
        assert inside(clone, name, f"grep --count barnacle {LOG} || true").strip() == "0"
        assert inside(clone, name, f"stat --format %a {LOG}").strip() == "600"


def test_a_policy_that_is_none_is_refused_before_anything_is_touched(clone: Checkout) -> None:
    (clone.path / "audit.yml").write_text("rules: []\n")
    page(clone, cluster_audit="audit.yml")
    refused = clone.make("up")
    assert refused.status
    assert "[audit-policy]" in refused.output


@pytest.mark.parametrize("setting", ["audit.yml", "off", "metadata"])
def test_another_policy_takes_effect_on_one_controller_after_the_other(clone: Checkout, setting: str) -> None:
    own = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "rules": [{"level": "Metadata", "verbs": ["delete"]}, {"level": "None"}],
    }
    (clone.path / "audit.yml").write_text(yaml.safe_dump(own))
    before = {name: arguments(clone, name).get("audit-policy-file") for name in CONTROLLERS}
    page(clone, cluster_audit=setting)
    with asking(clone) as lost:
        began = time.monotonic()
        typed(clone, "how-to/audit-log", "make up").expect()
        print(f"make up with cluster_audit {setting}: {time.monotonic() - began:.0f} s")
    assert lost == []
    after = {name: arguments(clone, name).get("audit-policy-file") for name in CONTROLLERS}
    assert len(set(after.values())) == 1
    assert set(after.values()).isdisjoint(before.values())
    stored = clone.kube("get", "configmap", "kubeadm-config", "--namespace=kube-system")["data"]["ClusterConfiguration"]
    if setting == "off":
        assert set(after.values()) == {None}
        assert "audit" not in stored
    else:
        assert str(after["ctrl"]) in stored
        assert inside(clone, "ctrl", "ls /etc/kubernetes/audit").split() == [Path(str(after["ctrl"])).name]
    assert clone.make("up").expect().total("changed") == 0


def test_a_controller_that_is_made_anew_has_all_of_it(clone: Checkout) -> None:
    clone.make("replace-node", "NODE=ctrl-3").expect()
    test_etcd_runs_as_its_own_user(clone)
    assert arguments(clone, "ctrl-3")["audit-policy-file"] == arguments(clone, "ctrl")["audit-policy-file"]
