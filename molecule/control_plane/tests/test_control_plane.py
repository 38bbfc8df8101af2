"""The API answers, Secrets are encrypted where they rest, and nothing that opens the cluster lies about."""

from __future__ import annotations

import base64
import ipaddress
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from testinfra.host import Host

from tests.support.kube import Kube, eventually

testinfra_hosts = ["ansible://controllers"]

SECRET = "at-rest"


@pytest.fixture
def secret(kube: Kube) -> Iterator[str]:
    """A Secret, and the text in it."""
    kube.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": "default"},
                "data": {"word": base64.b64encode(b"barnacle").decode()},
            }
        ]
    )
    yield "barnacle"
    kube.text("delete", "secret", SECRET, "--namespace=default")


def test_the_api_is_ready(kube: Kube) -> None:
    assert kube.text("get", "--raw", "/readyz") == "ok"


def test_the_api_is_the_version_of_the_page(kube: Kube, page: dict[str, Any]) -> None:
    assert kube.raw("/version")["gitVersion"] == f"v{page['cluster_kubernetes_version']}"


def test_every_controller_is_a_node_with_its_address_of_the_node_network(host: Host, kube: Kube) -> None:
    variables = host.ansible.get_variables()
    node = kube("get", "node", variables["inventory_hostname"])
    addresses = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    assert addresses == [variables["node_address"]]
    assert "node-role.kubernetes.io/control-plane" in node["metadata"]["labels"]


def test_every_part_of_the_control_plane_runs(host: Host, kube: Kube) -> None:
    name = host.ansible.get_variables()["inventory_hostname"]
    for part in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        eventually(
            lambda part=part: (
                kube("get", "pod", f"{part}-{name}", "--namespace=kube-system")["status"]["phase"] == "Running"
            ),  # type: ignore[misc]
            seconds=60,
            what=f"{part} runs on {name}",
        )


def test_a_secret_is_encrypted_in_etcd(host: Host, kube: Kube, secret: str) -> None:
    name = host.ansible.get_variables()["inventory_hostname"]
    stored = kube.text(
        "exec",
        f"etcd-{name}",
        "--namespace=kube-system",
        "--",
        "etcdctl",
        "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
        "--cert=/etc/kubernetes/pki/etcd/server.crt",
        "--key=/etc/kubernetes/pki/etcd/server.key",
        "get",
        f"/registry/secrets/default/{SECRET}",
        "--print-value-only",
        "--hex",
    )
    raw = bytes.fromhex(stored.strip().replace("\\x", ""))
    assert raw.startswith(b"k8s:enc:secretbox:v1:")
    assert secret.encode() not in raw
    assert base64.b64encode(secret.encode()) not in raw


def test_etcd_runs_as_its_own_user_who_owns_its_data(host: Host) -> None:
    assert host.check_output("ps -o user= -C etcd").split() == ["etcd"]
    with host.sudo():
        assert host.check_output("find /var/lib/etcd -not -user etcd") == ""
        assert host.check_output("find /etc/kubernetes/pki -not -user root") == ""


def test_the_audit_log_names_who_made_a_secret_and_not_what_is_in_it(host: Host, secret: str) -> None:
    log = "/var/log/kubernetes/audit/audit.log"
    with host.sudo():
        assert host.file(log).mode == 0o600
        lines = host.check_output("grep --text %s %s", f'"name":"{SECRET}"', log).splitlines()
        assert host.run("grep --quiet %s %s", secret, log).rc == 1
    assert any(json.loads(line)["user"]["username"] == "kubernetes-admin" for line in lines)


def test_a_secret_can_be_read_back(kube: Kube, secret: str) -> None:
    stored = kube("get", "secret", SECRET, "--namespace=default")["data"]["word"]
    assert base64.b64decode(stored).decode() == secret


def test_keys_and_kubeconfigs_are_for_root_alone(host: Host) -> None:
    with host.sudo():
        loose = host.check_output(
            "find /etc/kubernetes '(' -name '*.key' -o -name '*.conf' -o -path '*/encryption/*' ')' -type f "
            "-not -path '/etc/kubernetes/resolv.conf' -perm /077"
        )
    assert loose == ""


def test_no_configuration_with_a_token_is_left(host: Host) -> None:
    with host.sudo():
        left = host.run(
            "grep --recursive --files-with-matches 'token: [a-z0-9]' /etc/kubernetes /run/slipway /var/lib/slipway"
        )
    assert left.stdout == ""


def test_cluster_dns_is_found_ready_at_once(kube: Kube) -> None:
    (coredns,) = kube("get", "deployment", "coredns", "--namespace=kube-system")["spec"]["template"]["spec"][
        "containers"
    ]
    assert coredns["readinessProbe"]["periodSeconds"] == 1


def test_the_kubeconfig_of_this_machine_is_for_its_user_alone(state: Path) -> None:
    assert stat.S_IMODE((state / "kubeconfig").stat().st_mode) == 0o600


def test_etcd_talks_to_nobody_without_a_certificate(host: Host) -> None:
    address = host.ansible.get_variables()["node_address"]
    script = f"""
import socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
connection = context.wrap_socket(socket.create_connection(("{address}", 2379), 5))
connection.send(b"GET /health HTTP/1.0\\r\\n\\r\\n")
print(connection.recv(100))
"""
    done = host.run("python3 -c %s", script)
    assert done.rc != 0
    assert "certificate" in done.stderr.lower()


def test_scheduler_and_controller_manager_listen_on_loopback_alone(host: Host) -> None:
    listening = host.check_output("ss --no-header --listening --tcp --numeric '( sport = 10257 or sport = 10259 )'")
    assert {line.split()[3].rpartition(":")[0] for line in listening.splitlines()} == {"127.0.0.1"}


def wish(user: str, name: str, address: str) -> dict[str, Any]:
    """A request for a serving certificate."""
    parts = [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, user)]
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
    pem = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(kind, text) for kind, text in parts]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "slipway-test-"},
        "spec": {
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"],
            "request": base64.b64encode(pem).decode(),
        },
    }


def test_only_what_a_kubelet_of_ours_asks_for_itself_is_approved(host: Host, kube: Kube) -> None:
    """One request each: its own names, those of the API server, and a machine that is not on the page."""
    variables = host.ansible.get_variables()
    name, address = variables["inventory_hostname"], variables["node_address"]
    user = f"system:node:{name}"
    cases = {
        "own": (user, wish(user, name, address)),
        "another's": (user, wish(user, "kubernetes", "10.96.0.1")),
        "stranger": ("system:node:stranger", wish("system:node:stranger", "stranger", "192.0.2.99")),
    }
    made: dict[str, str] = {}
    try:
        for case, (who, request) in cases.items():
            by = (f"--as={who}", "--as-group=system:nodes", "--as-group=system:authenticated")
            made[case] = kube.text("create", "--filename=-", "--output=name", *by, given=json.dumps(request)).strip()

        def decided(case: str) -> set[str]:
            status = kube("get", made[case])["status"]
            return {condition["type"] for condition in status.get("conditions", [])}

        eventually(lambda: decided("own"), seconds=30, what="the kubelet's own request is approved")
        assert decided("own") == {"Approved"}
        for case in ("another's", "stranger"):
            said = f"{made[case].rpartition('/')[2]} of "

            def refused(said: str = said) -> bool:
                return any(said in line and "refused" in line for line in journal(host).splitlines())

            eventually(refused, seconds=30, what=f"{case}: refused with its reason")
            assert decided(case) == set()
    finally:
        for request_name in made.values():
            kube.text("delete", request_name)


def journal(host: Host) -> str:
    with host.sudo():
        said: str = host.check_output("journalctl --no-pager --output=cat --unit=slipway-serving.service --since=-5min")
    return said


def test_who_approves_comes_with_the_machine_and_back_after_a_kill(host: Host) -> None:
    service = host.service("slipway-serving")
    assert service.is_enabled
    before = service.systemd_properties["MainPID"]
    with host.sudo():
        host.check_output("systemctl kill --signal=KILL slipway-serving.service")
    eventually(
        lambda: host.service("slipway-serving").systemd_properties["MainPID"] not in (before, "0"),
        seconds=30,
        what="another one runs",
    )


def test_who_approves_is_not_root(host: Host) -> None:
    process = host.service("slipway-serving").systemd_properties["MainPID"]
    assert host.check_output("ps -o user= -p %s", process).strip() != "root"
