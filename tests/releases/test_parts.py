"""Jobs before pods change, containers before and beside the application, on a live cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.kube import Kube
from tests.support.releases import Stage

PAGE = Path(__file__).parent / "pages/parts.yml"
WHERE = "--namespace=parts"
THERE: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "parts"}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "parts"}},
]


def _nightly(kube: Kube) -> None:
    """Have the CronJob run now, and read what it prints."""
    (cron,) = kube("get", "cronjobs", WHERE)["items"]
    assert cron["spec"]["schedule"] == "@daily"
    name = cron["metadata"]["name"]
    kube.text("create", "job", "now", f"--from=cronjob/{name}", WHERE)
    kube.text("wait", "job/now", WHERE, "--for=condition=Complete", "--timeout=60s", timeout=90)
    assert kube.text("logs", "job/now", WHERE).strip() == "clean"
    kube.text("delete", "job", "now", WHERE)


def test_a_job_is_done_before_pods_come_and_one_that_fails_stops_the_release(empty: Stage, tmp_path: Path) -> None:
    kube = empty.kube
    space, account = THERE
    kube.apply([space])
    try:
        refused = empty.release(str(PAGE), prove="never")
        assert refused.status != 0
        assert "account-not-in-cluster" in refused.output
        assert kube("get", "deployments", WHERE)["items"] == []
        kube.apply([account])
        empty.release(str(PAGE), prove="always").expect()
        empty.passed("parts")
        jobs = kube("get", "jobs", WHERE)["items"]
        done = {job["spec"]["template"]["metadata"]["labels"]["slipway.io/job"]: job["status"] for job in jobs}
        # The second one writes to /etc as root.
        assert {name: status["succeeded"] for name, status in done.items()} == {"migrate": 1, "owner": 1}
        times = {
            job["spec"]["template"]["metadata"]["labels"]["slipway.io/job"]: (
                job["metadata"]["creationTimestamp"],
                job["status"]["completionTime"],
            )
            for job in jobs
        }
        # One after the other, as the page lists them, and pods after both.
        pods = kube("get", "pods", WHERE, "--selector=app=front")["items"]
        assert times["migrate"][1] <= times["owner"][0]
        assert all(times["owner"][1] <= pod["metadata"]["creationTimestamp"] for pod in pods)
        _nightly(kube)
        inside = ("exec", WHERE, "deployment/front-v1", "--container=clock", "--", "/usr/bin/python3.11", "-c")
        assert kube.text(*inside, "import os; print(os.listdir('/made'))").strip() == "['first']"
        assert kube.text(*inside, "import os; print(os.getuid())").strip() == "65532"
        assert (
            kube.text("exec", WHERE, "deployment/front-v1", "--container=root", "--", "cat", "/etc/who").strip() == "0"
        )
        assert empty.release(str(PAGE), prove="never").expect().total("changed") == 0
        broken = yaml.safe_load(PAGE.read_text())
        broken["jobs"]["migrate"]["command"][2] = "import sys; print('no such table'); sys.exit(3)"
        broken["services"]["front"]["labels"] = {"team": "other"}
        (tmp_path / "parts.yml").write_text(yaml.safe_dump(broken))
        refused = empty.release(str(tmp_path / "parts.yml"), prove="never")
        assert refused.status != 0
        assert "release-job-failed" in refused.output
        assert "| no such table" in refused.output
        labels = kube("get", "deployment", "front-v1", WHERE)["spec"]["template"]["metadata"]["labels"]
        assert labels["team"] == "parts"
        assert empty.release(str(PAGE), prove="never").expect()
    finally:
        empty.take_away((str(PAGE),))
        kube.text("delete", "namespace", "parts", "--ignore-not-found", "--timeout=120s", timeout=150)
