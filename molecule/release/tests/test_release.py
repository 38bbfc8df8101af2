"""A release answers by its page, changes without a failed request, and leaves nothing behind."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kube import Kube, eventually
from tests.support.mesh import own_address

testinfra_hosts = ["ansible://controllers[0]"]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "molecule/release/pages/page.yml"
NAME, HOST = "slipway-test-release", "release.slipway.local"
TOKEN = "of-the-scenario"
# Seconds until an image that cannot be pulled is named, and until a second run is over.
SAID, AGAIN = 60, 12


def release(*arguments: str, page: Path = PAGE, play: str = "finalization.yml", **environment: str) -> tuple[int, str]:
    """Run the playbook on the lab: its exit code, and all that it said."""
    done = subprocess.run(
        # A proof of each of these changes would be another test.
        [
            "ansible-playbook",
            "--inventory=molecule/inventory",
            play,
            "-e",
            f"release={page}",
            "-e",
            "prove=never",
            *arguments,
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", **environment},
    )
    return done.returncode, done.stdout + done.stderr


def weights(v1: int, v2: int) -> tuple[str, str]:
    return "-e", json.dumps({"release_weights": {"v1": v1, "v2": v2}})


@pytest.fixture(scope="module")
def address(page: dict[str, Any]) -> str:
    """The gateway's, which is on a network of this machine."""
    found = str(page["cluster_gateway"]["address"])
    own_address(found)
    return found


def ask(address: str, cookie: str = "") -> tuple[int, str, str]:
    """One request: status, the version that answered, the cookie that it set."""
    connection = http.client.HTTPConnection(address, 80, timeout=5)
    try:
        connection.request("GET", "/VERSION", headers={"Host": HOST, **({"Cookie": cookie} if cookie else {})})
        answer = connection.getresponse()
        text = answer.read().decode().strip()
        return answer.status, text, (answer.getheader("Set-Cookie") or "").partition(";")[0]
    finally:
        connection.close()


@contextmanager
def asked_all_the_time(address: str) -> Iterator[Counter[str]]:
    """Ask in a thread, and count the answers: versions, and what was no answer."""
    seen: Counter[str] = Counter()
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                status, text, _ = ask(address)
                seen[text if status == 200 else str(status)] += 1
            except OSError as exc:
                seen[type(exc).__name__] += 1
            time.sleep(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def pods(kube: Kube) -> set[str]:
    return {item["metadata"]["name"] for item in kube("get", "pods", f"--namespace={NAME}")["items"]}


def test_both_versions_answer_and_a_client_stays_with_its_own(address: str) -> None:
    eventually(lambda: ask(address)[0] == 200, seconds=30, what="the page answers")
    first = [ask(address) for _ in range(100)]
    assert {status for status, _, _ in first} == {200}
    shares = Counter(version for _, version, _ in first)
    # 10 of 100 on average; outside of this in one run of 10,000.
    assert 1 <= shares["v2"] <= 23, shares
    for version in ("v1", "v2"):
        cookie = next(cookie for _, answered, cookie in first if answered == version)
        assert {ask(address, cookie)[1] for _ in range(20)} == {version}


def test_weights_change_under_load_without_a_failed_request_or_a_new_pod(kube: Kube, address: str) -> None:
    before = pods(kube)
    cookie = next(answer[2] for answer in iter(lambda: ask(address), None) if answer[1] == "v2")
    with asked_all_the_time(address) as seen:
        for share in ((50, 50), (0, 100), (100, 0)):
            code, said = release(*weights(*share))
            assert code == 0, said
    assert set(seen) == {"v1", "v2"}, seen
    assert pods(kube) == before
    # Rolled back: whoever had the canary is moved, too.
    eventually(lambda: ask(address, cookie)[1] == "v1", seconds=10, what="everybody is at v1")
    code, said = release()
    assert code == 0, said


def test_a_second_run_changes_nothing_and_is_short(kube: Kube) -> None:
    def versions() -> set[str]:
        kinds = "deployments,services,virtualservices,gateways,authorizationpolicies,secrets"
        found = kube("get", kinds, f"--namespace={NAME}", f"--selector=slipway.io/release={NAME}")["items"]
        return {f"{one['kind']} {one['metadata']['name']} {one['metadata'].get('generation')}" for one in found}

    before = versions()
    started = time.monotonic()
    code, said = release()
    assert code == 0, said
    assert "changed=0" in said
    assert versions() == before
    took = time.monotonic() - started
    print(f"a second run: {took:.1f} s (at most {AGAIN} on an idle machine)")
    # Other runs on this machine may slow it down, but not that much.
    assert took < 3 * AGAIN


def test_a_secret_comes_from_the_environment_is_kept_and_never_shown(kube: Kube) -> None:
    code, said = release("--diff", "-vvv", SLIPWAY_TEST_TOKEN=TOKEN)
    assert code == 0, said
    encoded = base64.b64encode(TOKEN.encode()).decode()
    assert TOKEN not in said
    assert encoded not in said
    assert "TOKEN: from environment variable SLIPWAY_TEST_TOKEN" in said
    assert kube("get", "secret", "token", f"--namespace={NAME}")["data"]["TOKEN"] == encoded
    code, said = release()
    assert code == 0, said
    assert kube("get", "secret", "token", f"--namespace={NAME}")["data"]["TOKEN"] == encoded


def test_pods_are_made_anew_when_a_secret_changes_and_only_then(kube: Kube) -> None:
    before = pods(kube)
    code, said = release(SLIPWAY_TEST_TOKEN="another")
    assert code == 0, said
    eventually(lambda: not pods(kube) & before, seconds=60, what="every pod has the new Secret")
    after = pods(kube)
    code, said = release(SLIPWAY_TEST_TOKEN="another")
    assert code == 0, said
    assert "changed=0" in said
    assert pods(kube) == after


def test_what_is_somebody_elses_is_refused_and_taken_over_when_told_to(kube: Kube, tmp_path: Path) -> None:
    spec = {"selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 8080}]}
    metadata = {"name": "taken", "namespace": NAME}
    kube.apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}])
    page = changed(tmp_path, names={"service": "taken"})
    code, said = release(page=page)
    assert code != 0
    assert f"Service/{NAME}/taken, which is there already" in said
    assert "release_adopt=true" in said
    assert kube("get", "service", "taken", f"--namespace={NAME}")["spec"]["selector"] == {"app": "theirs"}
    code, said = release("-e", "release_adopt=true", page=page)
    assert code == 0, said
    labels = kube("get", "service", "taken", f"--namespace={NAME}")["metadata"]["labels"]
    assert labels["slipway.io/release"] == NAME
    # From then on it is the release's, and goes when the page no longer names it.
    code, said = release()
    assert code == 0, said
    assert "taken" not in {item["metadata"]["name"] for item in kube("get", "services", f"--namespace={NAME}")["items"]}


def test_a_plan_shows_the_difference_and_touches_nothing(kube: Kube) -> None:
    before = kube("get", "virtualservices", f"--namespace={NAME}")["items"]
    code, said = release(*weights(20, 80), play="playbooks/plan.yml")
    assert code == 0, said
    assert "weight: 80" in said
    assert kube("get", "virtualservices", f"--namespace={NAME}")["items"] == before


def changed(folder: Path, **service: Any) -> Path:
    """Write the page with another service."""
    values = yaml.safe_load(PAGE.read_text())
    values["services"]["page"] |= service
    path = folder / "page.yml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def test_an_image_that_cannot_be_pulled_is_named_and_the_old_version_serves_on(address: str, tmp_path: Path) -> None:
    page = changed(tmp_path, image="docker.io/library/none-of-that:1.0.0")
    started = time.monotonic()
    with asked_all_the_time(address) as seen:
        code, said = release(page=page)
    took = time.monotonic() - started
    try:
        assert code != 0
        assert "docker.io/library/none-of-that:1.0.0" in said
        assert "what served before serves on" in said
        assert "Traceback" not in said
        assert set(seen) <= {"v1", "v2"}, seen
        assert took < SAID + AGAIN
    finally:
        code, said = release()
    assert code == 0, said


def shell(text: str, **service: Any) -> dict[str, Any]:
    """Keys of a service whose program does something before it serves the site."""
    serve = "exec /usr/bin/python3 -m http.server 8080 --directory /etc/site"
    return {"command": ["/bin/sh", "-c", f"{text} && {serve}"], **service}


def test_an_image_runs_as_it_says_and_writes_where_root_may(kube: Kube, address: str, tmp_path: Path) -> None:
    page = changed(tmp_path, **shell("id -u > /bin/who && chown 33 /bin/who", user="image", writable=True))
    try:
        code, said = release(page=page)
        assert code == 0, said
        assert "may be root; Pod Security in namespace slipway-test-release" in said
        assert ask(address)[0] == 200
        where = (f"--namespace={NAME}", "deployment/page-v1", "--container=page", "--")
        assert kube.text("exec", *where, "cat", "/bin/who").strip() == "0"
        labels = next(item for item in kube("get", "namespaces")["items"] if item["metadata"]["name"] == NAME)[
            "metadata"
        ]["labels"]
        assert labels["pod-security.kubernetes.io/warn"] == "baseline"
        code, said = release(page=page)
        assert code == 0, said
        assert "changed=0" in said
    finally:
        code, said = release()
    assert code == 0, said


def with_folder(folder: Path, path: str, **volume: Any) -> Path:
    """Write the page with a folder of the node that no node has, in which the program writes before it serves."""
    page = changed(folder, **shell("mkdir -p /data/in && id -u > /data/in/who"))
    values = yaml.safe_load(page.read_text())
    values["volumes"]["made"] = {"host_path": path, **volume}
    values["services"]["page"]["mounts"]["made"] = {"path": "/data", "sub_path": "part"} if volume else "/data"
    page.write_text(yaml.safe_dump(values, sort_keys=False))
    return page


def test_a_folder_that_no_node_has_is_named_at_once(address: str, tmp_path: Path) -> None:
    page = with_folder(tmp_path, "/var/lib/slipway-test-none")
    started = time.monotonic()
    try:
        with asked_all_the_time(address) as seen:
            code, said = release(page=page)
        took = time.monotonic() - started
        assert code != 0
        assert "/var/lib/slipway-test-none is not a directory" in said
        assert "create: true" in said
        assert set(seen) <= {"v1", "v2"}, seen
        print(f"a missing folder is named after {took:.0f} s")
        assert took < SAID
    finally:
        code, said = release()
    assert code == 0, said


def test_a_folder_that_may_be_made_is_the_pods_own(kube: Kube, address: str, tmp_path: Path) -> None:
    page = with_folder(tmp_path, "/var/lib/slipway-test-made", create=True)
    try:
        code, said = release(page=page)
        assert code == 0, said
        assert ask(address)[0] == 200
        where = (f"--namespace={NAME}", "deployment/page-v1", "--container=page", "--")
        assert kube.text("exec", *where, "cat", "/data/in/who").strip() == "65532"
        code, said = release(page=page)
        assert code == 0, said
        assert "changed=0" in said
    finally:
        code, said = release()
    assert code == 0, said


def test_a_pod_that_lacks_a_right_says_so_with_its_last_lines(address: str, tmp_path: Path) -> None:
    page = changed(tmp_path, **shell("echo x > /bin/who", writable=True))
    try:
        with asked_all_the_time(address) as seen:
            code, said = release(page=page)
        assert code != 0
        assert "Permission denied" in said
        assert "user: image at its service" in said
        assert set(seen) <= {"v1", "v2"}, seen
    finally:
        code, said = release()
    assert code == 0, said


def test_what_the_page_no_longer_names_goes_and_what_is_not_the_releases_stays(kube: Kube, tmp_path: Path) -> None:
    deployments = kube("get", "deployments", f"--namespace={NAME}")["items"]
    marks = {"app.kubernetes.io/managed-by", "slipway.io/release", "slipway.io/namespace"}
    own = {key: value for key, value in deployments[0]["metadata"]["labels"].items() if key in marks}
    for name, labels in (("not-ours", {**own, "slipway.io/release": "another"}), ("not-named", own)):
        metadata = {"name": name, "namespace": NAME, "labels": labels}
        kube.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}])
    values = yaml.safe_load(PAGE.read_text())
    del values["services"]["page"]["versions"]["v2"]
    del values["weights"], values["sticky"]
    page = tmp_path / "page.yml"
    page.write_text(yaml.safe_dump(values, sort_keys=False))
    code, said = release(page=page)
    assert code == 0, said
    names = {item["metadata"]["name"] for item in kube("get", "deployments", f"--namespace={NAME}")["items"]}
    assert len(names) == 1
    kept = {item["metadata"]["name"] for item in kube("get", "configmaps", f"--namespace={NAME}")["items"]}
    assert kept & {"not-ours", "not-named"} == {"not-ours"}
    code, said = release()
    assert code == 0, said


def test_a_broken_page_is_said_with_file_and_line(tmp_path: Path) -> None:
    page = tmp_path / "page.yml"
    page.write_text(PAGE.read_text().replace("v2: 10", "v2: 11"))
    code, said = release(page=page)
    assert code != 0
    assert f"{page}:5" in said
    assert "Traceback" not in said


def test_absent_takes_all_of_it_away(kube: Kube) -> None:
    code, said = release("-e", "release_state=absent")
    assert code == 0, said
    assert NAME not in {item["metadata"]["name"] for item in kube("get", "namespaces")["items"]}
    code, said = release("-e", "release_state=absent")
    assert code == 0, said
    assert "changed=0" in said
