"""Put into a machine beforehand what every run of a role would put there: packages, programs, unpacked images.

``python3 -m slipway.node.bake`` runs in a throw-away container of which Docker then makes the image of nodes
(``slipway.lab.bake``), and reads on stdin what to put in (``Order``). It uses the same code as the module
``node_service``, so roles find nothing to do. Nothing that a machine has for itself is made here: no unit is started,
no key and no certificate is written.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from .fetch import RECORD, FetchError, ensure, load_record, make_folders, save_record, signature

# What is put in, for people: `docker run --rm --entrypoint cat IMAGE /usr/share/slipway/baked.json`.
NOTE = "usr/share/slipway/baked.json"
# The images, as containerd keeps them in its own folder. The entry point of a container node unpacks this once: they
# cannot be in the layers of an image as they are, because these are an overlayfs, and so are they.
SEED = "usr/share/slipway/containerd.tar"
# What of containerd's folder images are in. The rest (its own id, what runs) is each machine's own.
KEPT = (
    "io.containerd.content.v1.content",
    "io.containerd.metadata.v1.bolt",
    "io.containerd.snapshotter.v1.overlayfs",
)
# The working folder is a volume of the container, and no part of the image that is made of it.
WORK = "/mnt"
RUN = "/run/slipway-bake"
SOCKET = f"{RUN}/containerd.sock"
REGISTRY = "127.0.0.1:5000"
# Seconds: for containerd to answer, and for one image.
PATIENCE = 30.0
PULL = 300
PLACERS = 3


class Order(TypedDict):
    """What to put in. ``items`` are as ``node_service`` takes them; paths and URLs are those in the container."""

    packages: list[str]
    repository: str
    items: list[dict[str, Any]]
    images: list[str]
    sandbox: str
    registry: dict[str, Any]
    storage: str
    note: dict[str, Any]


class BakeError(Exception):
    """Something could not be put in; the text says what, and why."""


def run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a program; its complaint becomes a BakeError."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-8:])
        raise BakeError(f"{' '.join(command[:3])} ended with {done.returncode}: {tail}")


# --- packages ---------------------------------------------------------------------------------------------------


def install(packages: Sequence[str], repository: str) -> None:
    """Install Debian packages from the flat repository of the bundle, and start none of their services."""
    sources, settings, policy = f"{RUN}/bundle.sources", f"{RUN}/apt.conf", Path("/usr/sbin/policy-rc.d")
    Path(sources).write_text(f"Types: deb\nURIs: {repository}\nSuites: ./\nTrusted: yes\n", encoding="ascii")
    Path(settings).write_text(
        f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "-";\nAPT::Sandbox::User "root";\n', encoding="ascii"
    )
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    environment = {**os.environ, "APT_CONFIG": settings, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    keep = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
    try:
        run("apt-get", "-q", "update", environment=environment)
        run("apt-get", "-q", "-y", "--no-install-recommends", *keep, "install", *packages, environment=environment)
    finally:
        policy.unlink()
        for folder in ("/var/lib/apt/lists", "/var/cache/apt"):
            for entry in Path(folder).iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


# --- programs ---------------------------------------------------------------------------------------------------


def place(items: Sequence[Mapping[str, Any]], root: str = "/", moment: int | None = None) -> None:
    """Put ``items`` into their places below ``root`` and into the record of what was placed.

    The times of files are whole seconds, as a layer of an image keeps no more: the record goes by them. ``moment`` is
    the time that all of them get; without one, each keeps its own.
    """
    base = root.rstrip("/")
    there: list[Mapping[str, Any]] = [{**item, "dest": f"{base}{item['dest']}"} for item in items]
    with ThreadPoolExecutor(PLACERS) as pool:
        ensure(there, f"{base}{RECORD}", PULL, False, lambda function, wanted: list(pool.map(function, wanted)))
    record = load_record(f"{base}{RECORD}")
    made = {}
    for key, entry in record.items():
        files = {}
        for path in entry["files"]:
            at = int(os.stat(path).st_mtime) if moment is None else moment
            os.utime(path, (at, at))
            files[path.removeprefix(base)] = signature(path)
        made[key.removeprefix(base)] = {**entry, "files": files}
    save_record(f"{base}{RECORD}", made)


def note(content: Mapping[str, Any], root: str = "/") -> None:
    """Write down what was put in."""
    path = os.path.join(root, NOTE)
    make_folders(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")
    os.chmod(path, 0o644)


# --- images -----------------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    """Write a number as protobuf does."""
    more, rest = number & 0x7F, number >> 7
    return bytes([more | 0x80]) + varint(rest) if rest else bytes([more])


def field(content: bytes) -> bytes:
    """Write a text or a message as the first field of a protobuf message."""
    return b"\x0a" + varint(len(content)) + content


def pull_request(reference: str) -> bytes:
    """Write the gRPC message by which a kubelet asks for an image: ``PullImageRequest{image: {image: reference}}``."""
    message = field(field(reference.encode()))
    return b"\0" + struct.pack(">I", len(message)) + message


def complaint(headers: str) -> str:
    """Read what a gRPC server complains of out of the headers of its answer; empty: of nothing."""
    fields = dict(line.split(": ", 1) for line in headers.splitlines() if ": " in line)
    said = {name.lower(): value.strip() for name, value in fields.items()}
    status = said.get("grpc-status", "it did not end")
    return "" if status == "0" else said.get("grpc-message", status)


def pull(reference: str) -> None:
    """Let containerd get an image just as for a kubelet, so that it notes of it what a kubelet asks for later."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", dir=RUN) as headers:
        command = ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", SOCKET]
        command += ["--max-time", str(PULL), "--header", "content-type: application/grpc", "--header", "te: trailers"]
        command += ["--data-binary", "@-", "--dump-header", headers.name, "--output", os.devnull]
        command.append("http://localhost/runtime.v1.ImageService/PullImage")
        done = subprocess.run(command, input=pull_request(reference), capture_output=True, check=False)
        wrong = done.stderr.decode(errors="replace").strip() or complaint(headers.read())
    if wrong:
        raise BakeError(f"containerd cannot get {reference}: {wrong}")


def configure(order: Order) -> list[str]:
    """Write the settings of a registry that serves the bundle here, and of containerd; return their command lines."""
    registry, containerd = Path(RUN, "registry.yml"), Path(RUN, "config.toml")
    registry.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        "storage:\n  maintenance: {readonly: {enabled: true}}\n"
        f"  filesystem: {{rootdirectory: {order['storage']}}}\n"
        f"http: {{addr: '{REGISTRY}'}}\n",
        encoding="utf-8",
    )
    for host in {image.partition("/")[0] for image in order["images"]}:
        folder = Path(RUN, "certs.d", host)
        folder.mkdir(parents=True)
        way = f'[host."http://{REGISTRY}/v2/{host}"]\ncapabilities = ["pull", "resolve"]\noverride_path = true\n'
        (folder / "hosts.toml").write_text(way, encoding="utf-8")
    containerd.write_text(
        f"version = 3\nroot = '{WORK}/containerd'\nstate = '{RUN}/state'\n[grpc]\naddress = '{SOCKET}'\n"
        f"[ttrpc]\naddress = '{SOCKET}.ttrpc'\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\n"
        f"sandbox = '{order['sandbox']}'\n[plugins.'io.containerd.cri.v1.images'.registry]\n"
        f"config_path = '{RUN}/certs.d'\n"
        # containerd makes these folders, and nodes have others.
        f"[plugins.'io.containerd.cri.v1.runtime'.cni]\nconf_dir = '{RUN}/cni'\nbin_dirs = ['{RUN}/cni']\n",
        encoding="utf-8",
    )
    return [f"{WORK}/bin/registry serve {registry}", f"/usr/local/bin/containerd --config {containerd}"]


def fill(order: Order) -> None:
    """Get the images that are missing into the seed."""
    # Not below /run, where Docker lets nothing be run.
    place([{**order["registry"], "dest": "/bin"}], WORK)
    store = Path(WORK, "containerd")
    store.mkdir(mode=0o700)
    seed = Path("/", SEED)
    with_xattrs = ("--numeric-owner", "--xattrs", "--xattrs-include=*")
    if seed.exists():
        run("tar", "--extract", "--file", str(seed), "--directory", str(store), "--same-permissions", *with_xattrs)
    with open(f"{RUN}/log", "w", encoding="utf-8") as log:
        started = [subprocess.Popen(line.split(), stdout=log, stderr=log) for line in configure(order)]
    try:
        answering(started)
        with ThreadPoolExecutor(PLACERS) as pool:
            list(pool.map(pull, order["images"]))
    except BakeError as exc:
        said = Path(RUN, "log").read_text(encoding="utf-8", errors="replace").splitlines()
        raise BakeError("\n".join([str(exc), *said[-5:]])) from exc
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
    make_folders(str(seed.parent))
    names = [name for name in KEPT if (store / name).exists()]
    into = ("--create", "--file", f"{seed}.new", "--directory", str(store), "--sort=name", *with_xattrs)
    # The folder itself comes along for its permissions.
    run("tar", *into, "--no-recursion", ".", "--recursion", *names)
    os.chmod(f"{seed}.new", 0o600)
    os.replace(f"{seed}.new", seed)


def answering(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until containerd takes requests and the registry serves."""
    until = time.monotonic() + PATIENCE
    ask = ["curl", "--silent", "--fail", "--output", os.devnull, "--max-time", "2"]
    while not os.path.exists(SOCKET) or subprocess.run([*ask, f"http://{REGISTRY}/v2/"], check=False).returncode:
        if any(process.poll() is not None for process in started):
            raise BakeError("containerd or the registry ended by itself")
        if time.monotonic() > until:
            raise BakeError(f"containerd or the registry does not answer after {PATIENCE:.0f} s")
        time.sleep(0.1)


def main() -> int:
    """Put in what stdin says; 1 and why on stderr when something cannot be."""
    os.umask(0o022)
    order: Order = json.load(sys.stdin)
    os.makedirs(RUN, mode=0o700)
    try:
        if order["packages"]:
            install(order["packages"], order["repository"])
        place(order["items"])
        if order["images"]:
            fill(order)
        note(order["note"])
    except (BakeError, FetchError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
