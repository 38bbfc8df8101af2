"""A cluster with a release is saved, lost, and made again out of its backup: on new machines, and on those that it has.

The tests build on each other, in this order, on one cluster.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway.backup import archive
from slipway.backup.store import Store
from slipway.node.snapshot import SNAPSHOT, UTILITY

from tests.support.changing import Place, placed
from tests.support.checkout import On
from tests.support.figures import figure
from tests.support.kube import Kube, eventually, ready
from tests.support.lab import rewrite_page
from tests.support.releases import Stage, made
from tests.support.store import Server
from tests.support.transitions import Row, pair
from tests.support.typed import typed

PARTS = {"metallb": True, "istio": True, "storage": True, "metrics_server": False, "monitoring": False}
WORKERS = {"count": 2, "cpus": 2, "memory": 3072}
PAGE = pair()
NAMES = ("ctrl", "node-1", "node-2")
# Written by a pod into its volume, which no backup has.
NOT_IN_IT = "Data of volumes is not in it."
NOT_IN_IT_BACK = "Data of volumes was not in the backup."
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with made("backup", mail=False, cluster_parts=PARTS, cluster_workers=WORKERS) as there:
        yield there


@pytest.fixture(scope="module")
def place(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("pages")
    with placed(stage, Row("saved", PAGE, PAGE, "v1"), folder) as there:
        yield there


@pytest.fixture(scope="module")
def key(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, whose public half is on the page, with a folder beside it."""
    path: Path = tmp_path_factory.mktemp("key") / "key"
    done = typed(
        stage.checkout,
        "how-to/backup",
        ".venv/bin/python -m slipway.backup key ~/slipway-backup.key",
        instead={"~/slipway-backup.key": str(path)},
    ).expect()
    backup = {"folder": str(path.parent / "backups"), "recipients": [done.output.strip()], "keep": 2}
    page = stage.checkout.page
    page.write_text(rewrite_page(page.read_text(), {"cluster_backup": backup}))
    return path


def backups(key: Path) -> list[Path]:
    return sorted((key.parent / "backups").glob("*"))


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def on(stage: Stage, name: str, command: str) -> str:
    """What a command prints on a machine, whatever it ends with."""
    words = ["docker", "exec", f"{stage.checkout.name}-{name}", "sh", "-c", command]
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout.strip()


def left_on(stage: Stage, name: str) -> str:
    """What a backup or a restore has left on a machine: what is not encrypted, and containers of etcdutl."""
    places = "/var/lib/slipway/backup /var/tmp/slipway-backup"
    containers = f"ctr --namespace k8s.io containers list --quiet | grep ^{UTILITY}"
    return on(stage, name, f"ls -d {places} 2> /dev/null; {containers}")


def left_here(stage: Stage, key: Path) -> list[Path]:
    """What is left on this machine: what is not encrypted, and halves of archives."""
    state = [stage.checkout.state / name for name in ("backup", "restore")]
    return [path for path in state if path.exists()] + [path for path in backups(key) if path.suffix == ".part"]


def volume(name: str, pause: dict[str, str]) -> list[dict[str, object]]:
    """A claim, and a pod that keeps its volume in use and does nothing."""
    metadata = {"name": name, "namespace": "default"}
    container = {
        "name": "app",
        "image": f"{pause['name']}:{pause['tag']}",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    return [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": CLAIM},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [container], "volumes": volumes},
        },
    ]


def objects(value: str) -> list[dict[str, object]]:
    metadata = {"name": "kept", "namespace": "default"}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"value": value}},
    ]


def kept(kube: Kube) -> list[str]:
    """The values of both; a Secret's as it is in the answer."""
    return [kube("get", kind, "kept", "--namespace=default")["data"]["value"] for kind in ("configmap", "secret")]


def strangers(kube: Kube) -> list[str]:
    """Leases and EndpointSlices that name a node which is not there."""
    leases = kube("get", "leases", "--all-namespaces")["items"]
    slices = kube("get", "endpointslices.discovery.k8s.io", "--all-namespaces")["items"]
    # Those of nodes are called as they are; the API servers' have it as a label.
    named = [(one, one["metadata"]["name"]) for one in leases if one["metadata"]["namespace"] == "kube-node-lease"]
    named += [
        (one, name) for one in leases if (name := one["metadata"].get("labels", {}).get("kubernetes.io/hostname"))
    ]
    named += [(one, each["nodeName"]) for one in slices for each in one.get("endpoints") or [] if each.get("nodeName")]
    return [f"{one['kind']} {one['metadata']['name']}: {name}" for one, name in named if name not in NAMES]


def kubelet_since(stage: Stage, name: str) -> float:
    """When the kubelet of a machine started, in seconds since 1970."""
    show = "systemctl show kubelet --property=ExecMainStartTimestamp --timestamp=unix"
    return float(on(stage, name, show).rpartition("@")[2])


def whole(stage: Stage, place: Place, since: float = 0.0) -> None:
    """All nodes are Ready, the release answers, and a run finds nothing to do. Kubelets started after ``since``."""
    assert {node["metadata"]["name"]: ready(node) for node in stage.kube.nodes()} == dict.fromkeys(NAMES, True)
    eventually(lambda: not strangers(stage.kube), seconds=120, what="nothing names a node that is not there")
    assert [name for name in NAMES if kubelet_since(stage, name) < since] == [], "kubelets of before"
    place.answers(PAGE)
    eventually(lambda: stage.checkout.make("status").status == 0, seconds=180, what="all is well")
    assert stage.checkout.make("up").expect().total("changed") == 0


def test_without_anybody_who_could_read_it_there_is_no_backup(stage: Stage, place: Place) -> None:
    refused = stage.checkout.make("backup")
    assert refused.status
    assert "[no-recipients]" in refused.output
    assert place.name


def test_a_backup_is_made_and_leaves_nothing_else(stage: Stage, place: Place, key: Path) -> None:
    stage.kube.apply([*objects("before"), *volume("data", stage.kube.bundle["images"]["pause"])])
    eventually(
        lambda: stage.kube("get", "pod", "data", "--namespace=default")["status"]["phase"] == "Running",
        seconds=120,
        what="the pod with a volume runs",
    )
    done = typed(stage.checkout, "how-to/backup", "make backup").expect()
    (path,) = backups(key)
    figure("make backup", done.seconds, most=20)
    print(f"{path.stat().st_size / 1e6:.1f} MB")
    assert str(path) in done.output
    assert NOT_IN_IT in done.output
    assert left_on(stage, "ctrl") == ""
    assert not (stage.checkout.state / "backup").exists()
    for _ in range(2):
        assert NOT_IN_IT in stage.checkout.make("backup").expect().output
    assert len(backups(key)) == 2
    assert path not in backups(key)
    assert place.name


SAVING = {
    "the snapshot is taken": f"test -e /var/lib/slipway/backup/{SNAPSHOT}",
    "it is tried out": f"ctr --namespace k8s.io tasks list | grep ^{UTILITY}",
    "the archive is there": "test -e /var/tmp/slipway-backup/controller.tar",
}


@pytest.mark.parametrize("moment", SAVING)
@pytest.mark.parametrize("all_of_it", [False, True], ids=["only here", "on the node too"])
def test_a_backup_that_is_killed_is_made_anew(stage: Stage, key: Path, moment: str, all_of_it: bool) -> None:
    """What goes on at work on the controller ends first, and nothing of either is left."""
    before = backups(key)
    event = On("ctrl", f"{SAVING[moment]} > /dev/null")
    make = ("make", "--no-print-directory", "backup")
    stage.checkout.kill_when(event, *make, module_on="ctrl" if all_of_it else "")
    if all_of_it:
        on(stage, "ctrl", "pkill --signal=KILL --exact ctr")
    assert backups(key) == before
    stage.checkout.make("backup").expect()
    assert left_on(stage, "ctrl") == ""
    assert left_here(stage, key) == []
    assert backups(key)[-1] not in before


@pytest.mark.parametrize("step", ["Get what the controller has", "Encrypt it", "Remove what is not encrypted here"])
def test_a_backup_that_is_killed_on_this_machine_leaves_no_half(stage: Stage, key: Path, step: str) -> None:
    stage.checkout.kill_when(f"TASK [{step}]", "make", "--no-print-directory", "backup")
    stage.checkout.make("backup").expect()
    assert left_on(stage, "ctrl") == ""
    assert left_here(stage, key) == []
    assert len(backups(key)) == 2


def test_the_wrong_key_or_a_broken_file_stops_before_anything_stops(stage: Stage, place: Place, key: Path) -> None:
    other = key.parent / "other"
    stage.checkout.run(".venv/bin/python", "-m", "slipway.backup", "key", str(other)).expect()
    broken = key.parent / "broken"
    newest = backups(key)[-1]
    broken.write_bytes(newest.read_bytes()[:-100])
    for file, identity, error in ((newest, other, "wrong-backup-key"), (broken, key, "backup-unreadable")):
        refused = stage.checkout.make("restore", f"BACKUP={file}", f"IDENTITY={identity}")
        assert refused.status
        assert f"[{error}]" in refused.output
        assert refused.total("changed") == 0
    # Nobody types the name of the cluster here.
    playbook = ("playbooks/restore.yml", "-e", f"backup={newest}", "-e", f"identity={key}")
    refused = stage.checkout.playbook(*playbook, "-e", "restore_confirm=another")
    assert "[not-confirmed]" in refused.output
    assert not (stage.checkout.state / "restore").exists()
    whole(stage, place)


def test_it_comes_back_on_new_machines(stage: Stage, place: Place, key: Path) -> None:
    saved, before = kept(stage.kube), (stage.checkout.state / "kubeconfig").read_text()
    stage.kube.apply(objects("after"))
    assert kept(stage.kube) != saved
    stage.checkout.make("down").expect()
    began = time.time()
    name = "~/slipway-backups/slipway-20261129T030000Z.tar.age"
    done = typed(
        stage.checkout,
        "how-to/backup",
        "make restore BACKUP=~/slipway-backups/slipway-20261129T030000Z.tar.age IDENTITY=~/slipway-backup.key",
        instead={name: str(backups(key)[-1]), "~/slipway-backup.key": str(key)},
    ).expect()
    figure("make restore on new machines", done.seconds, most=180)
    assert NOT_IN_IT_BACK in done.output
    assert kept(stage.kube) == saved
    assert [left_on(stage, name) for name in NAMES] == ["", "", ""]
    whole(stage, place, began)
    # Who had a kubeconfig before can use it: the CA is the same.
    old = key.parent / "kubeconfig"
    old.write_text(before)
    program = str(stage.kube.program)
    assert subprocess.run([program, f"--kubeconfig={old}", "get", "nodes"], check=False).returncode == 0


RESTORING = {
    "the old one is half gone": "test ! -e /etc/kubernetes",
    "the archive is there": "test -e /var/tmp/slipway-backup/controller.tar",
    "keys are back": "test -e /var/lib/slipway/backup && test -e /etc/kubernetes/pki/sa.key",
    "etcd is back": "test -d /var/lib/etcd/member && ! test -e /etc/kubernetes/kubelet.conf",
    "it is founded": "test -e /etc/kubernetes/kubelet.conf && grep -q started /var/lib/slipway/kubeadm.json",
}


def restore(stage: Stage, key: Path) -> tuple[str, ...]:
    """The command, with the name of the cluster that is asked for where one lives."""
    given = (f"backup={backups(key)[-1]}", f"identity={key}", f"restore_confirm={stage.checkout.name}")
    return ("playbooks/restore.yml", *(word for each in given for word in ("-e", each)))


def kill_restores(stage: Stage, key: Path) -> None:
    """Restores that are killed, here and on the controller, each at its own moment: the next one begins anew."""
    for moment, condition in RESTORING.items():
        print(f"killed when: {moment}", flush=True)
        command = (".venv/bin/ansible-playbook", *restore(stage, key))
        stage.checkout.kill_when(On("ctrl", condition), *command, module_on="ctrl")


def test_it_comes_back_over_a_cluster_that_lives_and_volumes_stay(stage: Stage, place: Place, key: Path) -> None:
    saved = kept(stage.kube)
    where = stage.kube("get", "pod", "data", "--namespace=default")["spec"]["nodeName"]
    machine = f"{stage.checkout.name}-{where}"
    folder = docker("exec", machine, "sh", "-c", "ls -d /var/lib/slipway/storage/*data*").strip()
    docker("exec", machine, "sh", "-c", f"echo mine > {folder}/file")
    stage.checkout.make("backup").expect()
    stage.kube.apply(objects("after"))
    kill_restores(stage, key)
    began = time.time()
    done = stage.checkout.playbook(*restore(stage, key)).expect()
    figure("make restore over a cluster", done.seconds, most=180)
    assert NOT_IN_IT_BACK in done.output
    assert kept(stage.kube) == saved
    assert docker("exec", machine, "cat", f"{folder}/file") == "mine\n"
    assert [left_on(stage, name) for name in NAMES] == ["", "", ""]
    assert left_here(stage, key) == []
    whole(stage, place, began)


# --- backups that a controller makes by itself

SAVED = "/var/lib/slipway/backups"


def scheduled(stage: Stage, key: Path, schedule: str, **more: str) -> None:
    public = key.read_text().splitlines()[0].rpartition(" ")[2]
    backup = {"folder": str(key.parent / "backups"), "recipients": [public], "keep": 2, "schedule": schedule, **more}
    page = stage.checkout.page
    page.write_text(rewrite_page(page.read_text(), {"cluster_backup": backup}))


def test_a_controller_makes_backups_by_a_timer(stage: Stage, place: Place, key: Path, tmp_path: Path) -> None:
    scheduled(stage, key, "03:00")
    assert stage.checkout.make("up").expect().total("changed") > 0
    assert "slipway-backup.timer" in on(stage, "ctrl", "systemctl list-timers --no-pager slipway-backup.timer")
    for _ in range(3):
        assert on(stage, "ctrl", "systemctl start slipway-backup && echo done") == "done"
    assert NOT_IN_IT in on(stage, "ctrl", "journalctl --unit=slipway-backup --output=cat --lines=20")
    names = on(stage, "ctrl", f"ls {SAVED}").split()
    assert len(names) == 2
    assert all(name.endswith(".tar.age") for name in names)
    assert on(stage, "ctrl", "ls -d /var/lib/slipway/backup-timer 2> /dev/null") == ""
    assert f"{SAVED}/{names[-1]}" in stage.checkout.make("status").expect().output
    typed(
        stage.checkout,
        "how-to/backup",
        '.venv/bin/ansible ctrl --become -m ansible.builtin.fetch -a "src=/var/lib/slipway/backups/'
        'slipway-20261130T030112Z.tar.age dest=~/slipway-backups/ flat=true"',
        instead={"slipway-20261130T030112Z.tar.age": names[-1], "~/slipway-backups/": f"{tmp_path}/"},
    ).expect()
    found = archive.read(tmp_path / names[-1], key, tmp_path)
    assert (found.cluster, (tmp_path / "page.yml").read_bytes()) == (
        stage.checkout.name,
        stage.checkout.page.read_bytes(),
    )
    whole(stage, place)


def test_a_full_disk_keeps_the_old_ones_and_status_says_so(stage: Stage, key: Path) -> None:
    assert key
    before = on(stage, "ctrl", f"ls {SAVED}")
    # A disk that has room for what is there, and no more.
    size = f"$(( $(du --bytes --summarize {SAVED} | cut -f1) / 1024 + 32 ))k"
    aside = "/root/aside"
    small = (
        f"cp -a {SAVED} {aside} && mount --types tmpfs --options size={size} none {SAVED} && cp -a {aside}/. {SAVED}"
    )
    assert on(stage, "ctrl", f"{small} && rm -r {aside} && echo there") == "there"
    try:
        assert on(stage, "ctrl", "systemctl start slipway-backup || echo failed").endswith("failed")
        assert on(stage, "ctrl", f"ls {SAVED}") == before
        told = stage.checkout.make("status")
        assert told.status
        assert "backup on ctrl" in told.output
        assert "no space left on device" in told.output
    finally:
        on(stage, "ctrl", f"umount {SAVED}")
    assert on(stage, "ctrl", "systemctl start slipway-backup && echo done") == "done"
    stage.checkout.make("status").expect()


def test_without_a_schedule_the_timer_goes_and_the_backups_stay(stage: Stage, place: Place, key: Path) -> None:
    scheduled(stage, key, "")
    stage.checkout.make("up").expect()
    assert on(stage, "ctrl", "systemctl is-active slipway-backup.timer") == "inactive"
    assert len(on(stage, "ctrl", f"ls {SAVED}").split()) == 2
    whole(stage, place)


# --- a store


def test_a_backup_goes_to_a_store(
    stage: Stage, key: Path, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(program, tmp_path)
    server.start()
    try:
        scheduled(stage, key, "", store=server.address)
        typed(
            stage.checkout,
            "how-to/backup",
            "export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...",
            "make backup",
            instead={"KEY_ID=...": "KEY_ID=who", "ACCESS_KEY=...": "ACCESS_KEY=hunter2"},
        ).expect()
        # Until here, these are what the page says to export.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        listed = typed(
            stage.checkout,
            "how-to/backup",
            "s3cmd --host=s3.example.org --host-bucket=s3.example.org ls s3://backups/slipway/",
            instead={"s3cmd": "s3cmd --no-ssl", "s3.example.org": server.host, "backups/slipway": "saves/sun"},
        ).expect()
        there = Store.of(server.address).names(stage.checkout.name)
    finally:
        server.stop()
    assert there == {path.name: path.stat().st_size for path in backups(key)}
    assert [name for name in there if f"s3://saves/sun/{name}" not in listed.output] == []
    assert "hunter2" not in (stage.checkout.state / "log/ansible.log").read_text()
