"""What node_state reads from a machine's files."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from slipway.node import state as node

STATUS = "Name:\tsystemd\nCapBnd:\t{}\n"
LINKS = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "eth0", "addr_info": [{"local": "10.0.2.15", "prefixlen": 24}]},
    {"ifname": "eth1", "addr_info": [{"local": "192.0.2.100", "prefixlen": 24}]},
]
DPKG = """Package: socat
Status: install ok installed
Version: 1

Package: chrony
Status: deinstall ok config-files
Conffiles:
 /etc/chrony.conf 0

Package: ethtool
Status: hold ok installed
"""


def test_os_release_is_read_without_quotes_and_comments() -> None:
    text = '# c\nID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
    assert node.os_release(text) == {"id": "debian", "pretty_name": "Debian GNU/Linux 12 (bookworm)"}


@pytest.mark.parametrize(
    ("bits", "has"), [("000001fffeffffff", False), ("000001ffffffffff", True), ("zz", False), ("", False)]
)
def test_a_capability_is_one_bit_of_the_bounding_set(bits: str, has: bool) -> None:
    assert node.has_capability(STATUS.format(bits), node.CAP_SYS_RESOURCE) is has


@pytest.mark.parametrize(
    ("environ", "file", "is_one"),
    [
        ("TERM=x\0container=docker\0", "", True),
        ("container=\0", "", False),
        ("xcontainer=docker\0", "", False),
        ("", "podman\n", True),
        ("", "", False),
    ],
)
def test_a_container_says_so_in_the_environment_of_pid_1(environ: str, file: str, is_one: bool) -> None:
    assert node.is_container(environ, file) is is_one


@pytest.mark.parametrize(
    ("limits", "withheld"),
    [
        (("", ""), 0),
        (("max\n", ""), 0),
        (("", "9223372036854771712\n"), 0),
        (("2147483648\n", ""), 6144),
        (("", "2147483649\n"), 6144),
        (("", "2147483647\n"), 6145),
        (("8589934592\n", ""), 0),
    ],
)
def test_memory_beyond_the_limit_of_a_container_is_not_its_own(limits: tuple[str, str], withheld: int) -> None:
    assert node.memory_withheld("MemTotal:        8388608 kB\nMemFree: 1 kB\n", *limits) == withheld
    assert node.memory_withheld("", *limits) == 0


def test_swap_is_what_the_kernel_lists() -> None:
    assert node.swap_devices("Filename Type\n/dev/sda2 partition 1 0 -2\n\n") == ["/dev/sda2"]
    assert node.swap_devices("Filename Type\n") == []


def test_a_package_that_is_not_installed_is_missing() -> None:
    assert node.missing_packages(DPKG, ["socat", "chrony", "ethtool", "nftables"]) == ["chrony", "nftables"]


def test_the_interface_is_the_one_that_holds_the_address() -> None:
    assert node.interface_of(LINKS, "192.0.2.100") == "eth1"
    assert node.interface_of(LINKS, "192.0.2.101") == ""


@pytest.mark.parametrize(
    ("address", "first"), [("192.0.2.100", "192.0.2.1"), ("10.0.2.15", "10.0.2.1"), ("192.0.2.9", "")]
)
def test_the_first_address_of_the_network(address: str, first: str) -> None:
    assert node.network_first(LINKS, address) == first


def test_a_network_of_two_addresses_has_no_gateway_by_custom() -> None:
    links = [{"ifname": "p", "addr_info": [{"local": "192.0.2.1", "prefixlen": 31}]}]
    assert node.network_first(links, "192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize(
    ("texts", "usable"),
    [
        (["nameserver 127.0.0.11\nnameserver nonsense\nsearch a\nnameserver\nnameserver 192.0.2.53\n"], ["192.0.2.53"]),
        # Pods have IPv4 alone, and no interface that a zone could name.
        (["nameserver fd00::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.53\n"], ["192.0.2.53"]),
        (["nameserver 192.0.2.53%eth0\nnameserver 0.0.0.0\nnameserver 224.0.0.251\n"], []),
        # What pods cannot use takes no place of the three from what they can.
        (
            ["nameserver 2001:db8::1\nnameserver 2001:db8::2\nnameserver ::1\n", "nameserver 9.9.9.9\n"],
            ["9.9.9.9"],
        ),
        (["".join(f"nameserver 192.0.2.{n}\n" for n in (1, 2, 2, 3, 4))], ["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
        (
            ["nameserver 192.0.2.53\n", "nameserver ::1\nnameserver 192.0.2.53\nnameserver 9.9.9.9\n"],
            ["192.0.2.53", "9.9.9.9"],
        ),
    ],
)
def test_name_servers_that_a_pod_can_reach(texts: list[str], usable: list[str]) -> None:
    assert node.name_servers(*texts) == usable


def test_name_servers_that_pods_cannot_use_are_told_from_none_at_all() -> None:
    texts = ["nameserver fe80::1%eth0\nnameserver 127.0.0.53\n", "nameserver fd00::1\n"]
    assert node.useless_name_servers(*texts) == ["fe80::1%eth0", "127.0.0.53", "fd00::1"]
    assert node.useless_name_servers(*texts, "nameserver 192.0.2.1\n") == []
    assert node.useless_name_servers("search a\n") == []


def test_a_name_is_looked_up_as_every_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = (2, 1, 6, "", ("192.0.2.50", 0))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_arguments: [entry, entry])
    assert node.resolve("api.example.org") == ["192.0.2.50"]

    def fail(*_arguments: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    assert node.resolve("api.example.org") == []


def lay(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


KUBELET = {"etc/kubernetes/kubelet.conf": ""}
SERVER = {**KUBELET, "etc/kubernetes/manifests/kube-apiserver.yaml": ""}
STARTED = {"var/lib/slipway/kubeadm.json": '{"state": "started"}'}
DONE = {"var/lib/slipway/kubeadm.json": '{"state": "done"}'}


FOUNDING = {"var/lib/slipway/kubeadm.json": '{"state": "started", "action": "init"}'}
NOTHING = {"joined", "controller", "interrupted", "founding", "foreign", "remains", "etcd", "sealed", "node", "ca"}
NOTHING |= {"version", "kubelet", "parts", "pod_cidr", "address", "admin", "cas", "rotating"}
PEM = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"
SUM = hashlib.sha256(b"a").hexdigest()
IMAGE = "spec:\n  containers:\n  - image: registry.k8s.io/kube-apiserver:v1.37.0\n"


@pytest.mark.parametrize(
    ("files", "true"),
    [
        ({}, set()),
        (KUBELET, {"foreign"}),
        (SERVER, {"foreign"}),
        ({**KUBELET, **DONE}, {"joined"}),
        ({**SERVER, **DONE}, {"joined", "controller", "parts"}),
        # An upgrade was cut off between two manifests.
        (
            {**KUBELET, **DONE, "etc/kubernetes/controller-manager.conf": ""},
            {"joined", "controller", "parts"},
        ),
        ({**SERVER, **STARTED}, {"interrupted", "remains"}),
        ({**SERVER, **FOUNDING}, {"interrupted", "founding", "remains"}),
        (STARTED, {"interrupted", "remains"}),
        # A reset that was cut off has come so far.
        (DONE, {"remains"}),
        ({**KUBELET, "var/lib/slipway/kubeadm.json": "half a fi"}, {"interrupted", "remains"}),
        ({"var/lib/etcd/member/wal": ""}, {"etcd", "remains"}),
        ({"etc/kubernetes/encryption/config.yml": "key"}, {"sealed"}),
        ({"etc/kubernetes/encryption/config.yml": "\n"}, set()),
    ],
)
def test_how_far_a_machine_is_in_a_cluster(tmp_path: Path, files: dict[str, str], true: set[str]) -> None:
    state = node.kubernetes_state(lay(tmp_path, files))
    assert set(state) == NOTHING
    assert {name for name, value in state.items() if value} == true


def test_the_administrators_kubeconfig_is_known_by_its_sum(tmp_path: Path) -> None:
    files = {"etc/kubernetes/admin.conf": "a"}
    assert node.kubernetes_state(lay(tmp_path, files))["admin"] == ""
    assert node.kubernetes_state(lay(tmp_path, {**files, **SERVER, **DONE}))["admin"] == SUM


def test_what_a_controller_and_its_kubelet_run(tmp_path: Path) -> None:
    def manifest(part: str, tag: str) -> dict[str, str]:
        image = f"    image: registry.k8s.io/{part}:{tag}\n"
        return {f"etc/kubernetes/manifests/{part}.yaml": f"spec:\n  containers:\n  - command: [x]\n{image}"}

    files = {
        **manifest("etcd", "3.6.16-0"),
        **manifest("kube-apiserver", "v1.37.2"),
        **manifest("kube-scheduler", "v1.36.3"),
    }
    state = node.kubernetes_state(lay(tmp_path, {**KUBELET, **DONE, **files, **placed("v1.36.3")}))
    assert state["parts"] == {
        "etcd": "3.6.16-0",
        "kube-apiserver": "1.37.2",
        "kube-controller-manager": "",
        "kube-scheduler": "1.36.3",
    }
    assert (state["version"], state["kubelet"]) == ("1.37.2", "1.36.3")


@pytest.mark.parametrize("kubelet", [True, False])
def test_the_name_by_which_a_machine_joined(tmp_path: Path, kubelet: bool) -> None:
    record = {"var/lib/slipway/kubeadm.json": '{"state": "done", "node": "node-1"}'}
    state = node.kubernetes_state(lay(tmp_path, {**(KUBELET if kubelet else {}), **record}))
    assert state["node"] == ("node-1" if kubelet else "")


def placed(version: str) -> dict[str, str]:
    record = {"/usr/local/bin/kubelet#kubelet": {"version": version}}
    return {"var/lib/slipway/artifacts.json": json.dumps(record)}


@pytest.mark.parametrize(
    ("files", "ca", "version"),
    [
        ({**KUBELET, **DONE, "etc/kubernetes/pki/ca.crt": PEM, **placed("1.37.0")}, SUM, "1.37.0"),
        ({**KUBELET, **DONE, **placed("v1.37.0")}, "", "1.37.0"),
        # What was remembered when it joined counts, and on a controller the API server.
        (
            {
                **SERVER,
                "etc/kubernetes/manifests/kube-apiserver.yaml": IMAGE,
                "var/lib/slipway/kubeadm.json": '{"state": "done", "ca": "abc"}',
                "etc/kubernetes/pki/ca.crt": PEM,
                **placed("1.38.0"),
            },
            "abc",
            "1.37.0",
        ),
        ({**SERVER, **DONE, **placed("1.38.0")}, "", ""),
        # Of a machine that is not in, nothing is known.
        ({**KUBELET, **STARTED, "etc/kubernetes/pki/ca.crt": PEM, **placed("1.37.0")}, "", ""),
        ({**KUBELET, **DONE, "etc/kubernetes/pki/ca.crt": "no pem", "var/lib/slipway/artifacts.json": "[]"}, "", ""),
    ],
)
def test_the_cluster_that_a_machine_is_in(tmp_path: Path, files: dict[str, str], ca: str, version: str) -> None:
    state = node.kubernetes_state(lay(tmp_path, files))
    assert (state["ca"], state["version"]) == (ca, version)


@pytest.mark.parametrize(
    ("remembered", "trusted", "cas"),
    [
        ("a", ["a"], {"a"}),
        # While the CA is replaced: one that signs, and another one.
        ("a", ["a", "b"], {"a", "b"}),
        ("b", ["b", "a"], {"a", "b"}),
        ("b", ["b"], {"b"}),
        # What was remembered counts, where the file is of something else.
        ("c", ["a", "b"], {"c"}),
        ("a", [], {"a"}),
        ("", ["a", "b"], {"a", "b"}),
        ("", [], set()),
    ],
)
def test_the_cas_of_the_cluster_that_a_machine_is_in(
    tmp_path: Path, remembered: str, trusted: list[str], cas: set[str]
) -> None:
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in "abc"}
    pem = "".join(PEM.replace("YQ==", base64.b64encode(name.encode()).decode()) for name in trusted)
    record = json.dumps({"state": "done", **({"ca": sums[remembered]} if remembered else {})})
    files = {**KUBELET, "var/lib/slipway/kubeadm.json": record, "etc/kubernetes/pki/ca.crt": pem}
    state = node.kubernetes_state(lay(tmp_path, files))
    assert set(state["cas"]) == {sums[name] for name in cas}
    assert state["rotating"] is False
    state = node.kubernetes_state(lay(tmp_path, {"etc/kubernetes/pki/next/ca.crt": pem}))
    assert state["rotating"] is True


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.2.1/24\nFLANNEL_MTU=1450\n", "10.244.2.0/24"),
        ("FLANNEL_SUBNET=\n", ""),
        ("FLANNEL_SUBNET=nonsense\n", ""),
        ("", ""),
    ],
)
def test_the_pod_network_of_a_node_is_the_one_that_flannel_was_given(tmp_path: Path, text: str, network: str) -> None:
    assert node.pod_cidr(text) == network
    files = {**KUBELET, **DONE, "run/flannel/subnet.env": text}
    assert node.kubernetes_state(lay(tmp_path, files))["pod_cidr"] == network
    (tmp_path / "var/lib/slipway/kubeadm.json").unlink()
    assert node.kubernetes_state(str(tmp_path))["pod_cidr"] == ""


HOSTNAME, CONTROLLER = "kubernetes.io/hostname", "node-role.kubernetes.io/control-plane"
VTEP = "flannel.alpha.coreos.com/backend-data"


STATES = ("registered", "marked", "settings", "moved")


@pytest.mark.parametrize(
    ("labels", "annotations", "flannel", "registered", "marked"),
    [
        ([HOSTNAME], [], False, True, False),
        ([HOSTNAME, CONTROLLER], [VTEP], True, True, True),
        # Brought back, and its kubelet not started anew yet; or Flannel.
        ([], [], False, False, False),
        ([CONTROLLER], [VTEP], True, False, True),
        ([HOSTNAME], ["other"], True, False, False),
    ],
)
def test_a_node_is_registered_with_all_that_belongs_to_it(
    labels: list[str], annotations: list[str], flannel: bool, registered: bool, marked: bool
) -> None:
    found = {"metadata": {"labels": dict.fromkeys(labels, ""), "annotations": dict.fromkeys(annotations, "")}}
    assert node.registration(found, flannel, "192.0.2.1") == {
        "registered": registered,
        "marked": marked,
        "settings": False,
        "moved": False,
    }


@pytest.mark.parametrize(("told", "moved"), [("192.0.2.1", False), ("192.0.2.7", True)])
def test_a_node_whose_flannel_told_of_another_address_has_moved(told: str, moved: bool) -> None:
    found = {"metadata": {"annotations": {"flannel.alpha.coreos.com/public-ip": told}}}
    assert node.registration(found, True, "192.0.2.1")["moved"] is moved


def test_the_address_that_an_api_server_is_known_by() -> None:
    manifest = "    - kube-apiserver\n    - --advertise-address=192.0.2.100\n    - --allow-privileged=true\n"
    assert node.advertised(manifest) == "192.0.2.100"
    assert node.advertised("") == ""


def test_a_node_that_is_not_there_is_not_registered_and_silence_says_nothing() -> None:
    assert node.registration({}, False, "a") == dict.fromkeys(STATES, False)
    assert node.registration(None, True, "a") == dict.fromkeys(STATES)


@pytest.mark.parametrize(
    ("processes", "name"),
    [
        (["systemd", "chronyd"], "chronyd"),
        (["ntpd"], "ntpd"),
        (["systemd-timesyn", "sshd"], "systemd-timesyn"),
        (["systemd-timedat"], ""),
    ],
)
def test_who_keeps_the_time(processes: list[str], name: str) -> None:
    assert node.clock(processes) == name


def test_everything_together(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        {
            "etc/os-release": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian 12"\n',
            "proc/1/environ": "container=docker\0",
            "proc/1/status": STATUS.format("000001fffeffffff"),
            "proc/swaps": "Filename\n",
            "proc/meminfo": "MemTotal: 4194304 kB\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            "proc/77/comm": "ntpd\n",
            "var/lib/dpkg/status": DPKG,
        },
    )
    found = node.describe(root, iter(LINKS), "192.0.2.100", ["socat", "nginx"])
    assert json.loads(json.dumps(found)) == {
        "os": "debian",
        "os_version": "12",
        "os_codename": "bookworm",
        "os_name": "Debian 12",
        "container": True,
        "cgroup": 1,
        "may_raise_limits": False,
        "memory_withheld": 3072,
        "interface": "eth1",
        "networks": [
            {"network": "10.0.2.0/24", "what": "interface eth0", "route": False},
            {"network": "192.0.2.0/24", "what": "interface eth1", "route": False},
        ],
        "nameservers": ["192.0.2.1"],
        "nameservers_useless": [],
        "swap": [],
        "swap_masked": False,
        "dpkg_interrupted": False,
        "packages_missing": ["nginx"],
        "clock": "ntpd",
        "hosts_template": "",
        "kubernetes": {
            **dict.fromkeys(sorted(NOTHING), False),
            **dict.fromkeys(("node", "ca", "version", "kubelet", "pod_cidr", "address", "admin"), ""),
            "parts": {},
            "cas": [],
        },
    }
    lay(
        tmp_path,
        {
            "var/lib/dpkg/updates/0001": "",
            "sys/fs/cgroup/cgroup.controllers": "cpu",
            "etc/resolv.conf": "nameserver 192.0.2.53\n",
            "etc/cloud/templates/hosts.debian.tmpl": "## template:jinja\n",
        },
    )
    found = node.describe(root, LINKS, "192.0.2.100", [])
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/swap.target").symlink_to("/dev/null")
    assert node.describe(root, LINKS, "192.0.2.100", [])["swap_masked"] is True
    assert (found["cgroup"], found["nameservers"], found["dpkg_interrupted"]) == (2, ["192.0.2.53"], True)
    assert found["hosts_template"] == "/etc/cloud/templates/hosts.debian.tmpl"
