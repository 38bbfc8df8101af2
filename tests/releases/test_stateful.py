"""Pods with stable names and claims of their own, on a live cluster: proved, changed, refused, taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.releases import Stage

PAGE = Path(__file__).parent / "pages/stateful.yml"
WHERE = "--namespace=stateful"
PODS = ("back-v1-0", "back-v1-1")


def changed(folder: Path, **keys: Any) -> str:
    """Write the page with other keys of its service, or with other volumes."""
    values = yaml.safe_load(PAGE.read_text())
    values["volumes"] = keys.pop("volumes", values["volumes"])
    values["services"]["back"].update(keys)
    path = folder / "stateful.yml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_pods_keep_their_names_and_their_data_while_they_are_replaced(empty: Stage, tmp_path: Path) -> None:
    kube = empty.kube

    def claims() -> set[str]:
        return {item["metadata"]["name"] for item in kube("get", "persistentvolumeclaims", WHERE)["items"]}

    def said(pod: str, code: str) -> str:
        program = ("exec", WHERE, pod, "--container=back", "--", "/usr/bin/python3.11", "-c")
        return kube.text(*program, code).strip()

    try:
        empty.release(str(PAGE), prove="always").expect()
        empty.passed("stateful")
        assert claims() == {f"data-{pod}" for pod in PODS}
        for pod in PODS:
            said(pod, "import os; open('/data/name', 'w').write(os.environ['HOSTNAME'])")
        peer = f"import socket; print(socket.gethostbyname('{PODS[1]}.back-pods.stateful.svc.cluster.local'))"
        assert said(PODS[0], peer) == kube("get", "pod", PODS[1], WHERE)["status"]["podIP"]
        assert empty.release(str(PAGE), prove="never").expect().total("changed") == 0
        # One after the other, with the data that each of them had.
        empty.release(changed(tmp_path, labels={"team": "other"}), prove="during").expect()
        assert [said(pod, "print(open('/data/name').read())") for pod in PODS] == list(PODS)
        refused = empty.release(changed(tmp_path, volumes={"data": {"size": "32Mi", "per_pod": True}}), prove="never")
        assert refused.status != 0
        assert "claim-changed" in refused.output
        # What a pod leaves is named, and what is no longer stateful is replaced only when it is there.
        fewer = empty.release(changed(tmp_path, replicas=1), prove="never").expect()
        assert f"data-{PODS[1]}" in fewer.output
        assert claims() == {f"data-{pod}" for pod in PODS}
        plain = changed(tmp_path, stateful=False, mounts={}, env={}, volumes={})
        empty.release(plain, prove="during").expect()
        assert not kube("get", "statefulsets", WHERE)["items"]
        assert claims() == {f"data-{pod}" for pod in PODS}
    finally:
        empty.take_away((str(PAGE),))
        kube.text("delete", "namespace", "stateful", "--ignore-not-found", "--timeout=120s", timeout=150)
