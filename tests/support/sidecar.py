"""The artifacts' own istiod and proxy beside one pod of a plan, in a network of their own, without a cluster."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from slipway.artifacts.cache import default_root
from slipway.prove.reads import CLUSTERS, LISTENERS, OUTBOUND, ROUTES
from slipway.release.authorities import FOLDER
from slipway.release.planner import Plan

from .sidecar_inside import POD, SERVICE

Json = dict[str, Any]
INSIDE = Path(__file__).with_name("sidecar_inside.py")
LABELS = {"app": "web", "version": "v1", "slipway.io/release": "shop"}
# What role istio tells istiod of a proxy that is Envoy alone.
PLAIN = {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
DUMPS = {"outbound": OUTBOUND, "inbound": LISTENERS, "routes": ROUTES, "clusters": CLUSTERS}


@dataclass(frozen=True)
class Programs:
    """What is run: istiod, the agent of a proxy and its bootstrap, Envoy."""

    istiod: Path
    agent: Path
    bootstrap: Path
    envoy: Path

    @classmethod
    def found(cls, envoy: Path) -> Programs | None:
        """Find them in this machine's cache of artifacts; None: they, or the rights to use them, are not there."""
        built = sorted(default_root().glob("items/go-istio/*/pilot-discovery"))
        template = "go/mod/istio.io/istio@*/tools/packaging/common/envoy_bootstrap.json"
        bootstraps = sorted(default_root().glob(template))
        if not built or not bootstraps or os.geteuid() or not all(map(shutil.which, ("unshare", "iptables", "ip"))):
            return None
        return cls(built[-1], built[-1].with_name("pilot-agent"), bootstraps[-1], envoy)


@dataclass(frozen=True)
class Authority:
    """An authority, and the pairs that it signs in a folder."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def text(self) -> str:
        """Its certificate."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        made = self._made(subject, self.key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
        return made.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def sign(self, file: str, *names: str) -> None:
        """Make a pair: for hosts, or for a workload (spiffe://…)."""
        key = ec.generate_private_key(ec.SECP256R1())
        general = [x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name) for name in names]
        made = self._made(x509.Name([]), key.public_key(), x509.SubjectAlternativeName(general))
        plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / f"{file}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{file}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
        (self.folder / f"{file}.key").chmod(0o644)

    def _made(self, subject: x509.Name, key: Any, extension: Any) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        made = made.serial_number(x509.random_serial_number()).add_extension(extension, critical=True)
        day = dt.timedelta(days=1)
        return made.not_valid_before(now - day).not_valid_after(now + day).sign(self.key, hashes.SHA256())


def _there(made: Plan) -> list[Json]:
    """Give what istiod reads: the plan's objects of the mesh, Services, and another namespace's host."""
    found = [item for item in made.objects if "istio.io" in item["apiVersion"]]
    own: Json = {
        "hosts": ["web.shop.svc.cluster.local"],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": 8080, "name": "http", "protocol": "HTTP"}],
        "endpoints": [{"address": POD, "labels": LABELS, "serviceAccount": "web-v1"}],
    }
    called: Json = {
        "hosts": ["model.shop.svc.cluster.local"],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "addresses": [SERVICE],
        "ports": [{"number": 8080, "name": "http", "protocol": "HTTP", "targetPort": 8443}],
        "endpoints": [{"address": "192.0.2.10"}],
    }
    other: Json = {
        "hosts": ["others.example.com"],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "endpoints": [{"address": "192.0.2.10"}],
    }
    kind = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry"}
    found += [{**kind, "metadata": {"name": "web-own", "namespace": "shop"}, "spec": own}]
    found += [{**kind, "metadata": {"name": "model-own", "namespace": "shop"}, "spec": called}]
    found += [{**kind, "metadata": {"name": "others", "namespace": "elsewhere"}, "spec": other}]
    return found


def asked(
    programs: Programs,
    made: Plan,
    authority: Authority,
    servers: list[tuple[str, int, str, str]],
    steps: Mapping[str, Json],
    mesh: Mapping[str, Any] | None = None,
) -> Json:
    """Run it, send each step, and give ``answers`` by name and ``dumps`` of the proxy.

    ``servers``: address, port, name and pair of each server outside; "pod" is the pair of a pod of the mesh. A step
    has ``to`` (address and port), and may have ``host``, ``path``, ``method``, ``headers``, ``server`` (TLS to that
    name) and ``as`` (mutual TLS with that pair).
    """
    folder = authority.folder
    for source, name in (
        (programs.istiod, "pilot-discovery"),
        (programs.agent, "pilot-agent"),
        (programs.envoy, "envoy"),
        (programs.bootstrap, "bootstrap.json"),
    ):
        shutil.copy(source, folder / name)
        (folder / name).chmod(0o755)
    mesh_authority = Authority(folder, "mesh")
    (folder / "mesh.crt").write_text(mesh_authority.text)
    mesh_authority.sign("pod", "spiffe://cluster.local/ns/shop/sa/web-v1")
    mesh_authority.sign("gateway", "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account")
    mesh_authority.sign("friend", "spiffe://cluster.local/ns/batch/sa/reporter")
    (folder / "objects").mkdir()
    (folder / "objects/all.yaml").write_text(yaml.safe_dump_all(_there(made)))
    files = [item["data"] for item in made.objects if item["metadata"]["name"] == "shop-authorities"]
    job = {
        "folder": str(folder),
        "servers": servers,
        "authorities": files[0] if files else {},
        "mounted": FOLDER,
        "mesh": {"rootNamespace": "istio-system", "trustDomain": "cluster.local", **(mesh or {})},
        "env": PLAIN,
        "labels": LABELS,
        "steps": steps,
        "dumps": DUMPS,
    }
    command = ["unshare", "--net", "--mount", "--pid", "--kill-child", "--fork", sys.executable, "-I", str(INSIDE)]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: Json = json.loads(done.stdout)
    return found


def place() -> Path:
    """Make a folder that the user of a proxy may read."""
    made = Path(tempfile.mkdtemp(prefix="slipway-test-sidecar-"))
    made.chmod(0o755)
    return made
