"""What role host does on machines of different kinds, in Ansible's own templating."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader as plugins
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[2] / "roles/host"
MIRROR = {"bookworm": "http://192.0.2.10/apt/bookworm/"}
MACHINE: dict[str, Any] = {
    "container": False,
    "clock": "",
    "hosts_template": "",
    "os_codename": "bookworm",
    "os_name": "Debian GNU/Linux 12 (bookworm)",
    "packages_missing": [],
    "user": "debian",
}


@pytest.fixture(autouse=True, scope="module")
def _lookups() -> None:
    plugins.init_plugin_loader()


def on(variable: str, machine: dict[str, Any] | None = None, **values: Any) -> Any:
    """Give a variable of the role on a machine that differs from ``MACHINE`` in these ways."""
    loader = DataLoader()
    loader.set_basedir(str(ROLE / "tasks"))
    variables: dict[str, Any] = {}
    for path in ("defaults/main.yml", "vars/main.yml"):
        variables |= loader.load_from_file(str(ROLE / path), trusted_as_template=True)
    variables |= {
        "ansible_search_path": [str(ROLE)],
        "host_address": "192.0.2.101",
        "host_machines": [{"address": "192.0.2.101", "names": ["node-1"]}],
        "slipway_node": {**MACHINE, **(machine or {})},
        **values,
    }
    return Templar(loader=loader, variables=variables).template(trust_as_template(f"{{{{ {variable} }}}}"))


@pytest.mark.parametrize(
    ("machine", "missing", "runs_chrony"),
    [
        ({}, ["chrony", "socat"], True),
        ({"clock": "chronyd", "packages_missing": ["socat"]}, ["socat"], True),
        # Somebody else keeps the time already: installing chrony would make apt remove that.
        ({"clock": "systemd-timesyn"}, ["socat"], False),
        ({"clock": "ntpd"}, ["socat"], False),
        # A container has the clock of the machine it runs on.
        ({"container": True}, ["socat"], False),
        ({"container": True, "clock": "chronyd"}, ["socat"], False),
    ],
)
def test_one_daemon_keeps_the_time(machine: dict[str, Any], missing: list[str], runs_chrony: bool) -> None:
    machine = {"packages_missing": ["chrony", "socat"], **machine}
    assert sorted(on("__host_packages_missing", machine)) == missing
    assert ("chrony.service" in [unit["name"] for unit in on("__host_units", machine)]) is runs_chrony


def test_networks_that_some_machine_uses_stop_all_of_them_before_anything_is_changed() -> None:
    look, refuse, *_ = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    assert look["ansible.builtin.import_tasks"] == "look.yml"
    assert ("ansible.builtin.fail" in refuse, refuse.get("run_once")) == (True, True)
    claim = {"network": "172.17.0.0/16", "what": "interface eth0", "route": False}
    node = {**MACHINE, "networks": [claim], "nameservers": [], "kubernetes": {"joined": False, "address": ""}}
    values: dict[str, Any] = {
        "ansible_play_hosts": ["node-1", "node-2"],
        "hostvars": {
            "node-1": {"inventory_hostname": "node-1", "node_address": "192.0.2.101", "slipway_node": node},
            "node-2": {"inventory_hostname": "node-2", "node_address": "192.0.2.102"},
        },
    }
    assert on(refuse["when"].replace(" > 0", ""), host_networks={"cluster_pod_cidr": "10.244.0.0/16"}, **values) == 0
    text = on(
        refuse["ansible.builtin.fail"]["msg"].strip("{} "),
        host_networks={"cluster_pod_cidr": "172.17.0.0/16"},
        **values,
    )
    assert "cluster_pod_cidr 172.17.0.0/16 shares addresses with 172.17.0.0/16 of node-1 (interface eth0)" in text
    assert "10.244.0.0/16" in text


@pytest.mark.parametrize(("keys", "content"), [([], ""), (["ssh-rsa A", "ssh-rsa B"], "ssh-rsa A\nssh-rsa B")])
def test_keys_that_are_registered_no_longer_are_taken_out(keys: list[str], content: str) -> None:
    (file,) = (file for file in on("__host_files", host_ssh_keys=keys) if file["path"].endswith("/authorized_keys"))
    assert (file["path"], file["block"], file["content"]) == ("~debian/.ssh/authorized_keys", True, content)


def test_names_stand_in_every_file_that_they_are_read_from() -> None:
    template = "/etc/cloud/templates/hosts.debian.tmpl"
    for machine, paths in (({}, ["/etc/hosts"]), ({"hosts_template": template}, ["/etc/hosts", template])):
        files = [file for file in on("__host_files", machine) if "substitute" in file]
        assert [file["path"] for file in files] == paths
        for file in files:
            assert (file["block"], file["content"]) == (True, "192.0.2.101 node-1\n")
            (pattern,) = file["substitute"]
            assert re.sub(pattern, file["substitute"][pattern], "127.0.1.1\tnode-1") == "192.0.2.101\tnode-1"
            assert not re.search(pattern, "127.0.1.10 node-1")


def test_a_balancer_comes_with_its_servers_and_goes_without_them() -> None:
    paths = ["/etc/slipway/api.cfg", "/etc/slipway/api.nft", "/etc/systemd/system/slipway-api.service"]
    servers = {"ctrl-2": "192.0.2.12", "ctrl": "192.0.2.100"}
    files = {file["path"]: file for file in on("__host_files", host_api_servers=servers)}
    assert [path for path in paths if files[path].get("state", "present") == "present"] == paths
    listed = re.findall(r"^    server (\S+) (\S+)$", files[paths[0]]["content"], re.M)
    assert listed == [("ctrl", "192.0.2.100:6443"), ("ctrl-2", "192.0.2.12:6443")]
    # Nodes ask at loopback, and pods at the address of the Service; where an API server has the port, pods alone.
    for address, binds in {
        "192.0.2.101": ["127.0.0.1:6443", "169.254.1.1:1"],
        "192.0.2.12": ["169.254.1.1:1"],
    }.items():
        here: dict[str, Any] = {
            "host_address": address,
            "host_api_servers": servers,
            "host_api_service": "10.0.0.1",
            "host_api_local": "169.254.1.1:1",
        }
        made = {file["path"]: file for file in on("__host_files", **here)}
        assert re.findall(r"^    bind (\S+)$", made[paths[0]]["content"], re.M) == binds
        assert made[paths[1]]["content"].count("ip daddr 10.0.0.1 tcp dport 443 dnat to 169.254.1.1:1") == 2
        assert "ip address replace 169.254.1.1/32 dev lo" in made[paths[2]]["content"]
    units = {unit["name"]: unit for unit in on("__host_units", host_api_servers=servers)}
    assert (units["slipway-api.service"]["state"], units["haproxy.service"]["state"]) == ("started", "stopped")
    # It starts again for its own files alone.
    assert set(units["slipway-api.service"]["reads"]) == set(paths)
    gone = {file["path"] for file in on("__host_files") if file.get("state") == "absent"}
    assert gone >= set(paths)
    units = {unit["name"]: unit for unit in on("__host_units")}
    assert (units["slipway-api.service"]["state"], "haproxy.service" in units) == ("stopped", False)


@pytest.mark.parametrize(("values", "user"), [({}, "debian"), ({"ansible_user": "me"}, "me")])
def test_keys_are_registered_for_who_logs_in(values: dict[str, Any], user: str) -> None:
    files = {file["path"]: file for file in on("__host_files", host_ssh_keys=["ssh-ed25519 AAAA"], **values)}
    assert files[f"~{user}/.ssh/authorized_keys"]["owner"] == user
    own = yaml.safe_load((ROLE.parents[1] / "group_vars/controllers.yml").read_text())
    assert on("given", given=trust_as_template(own["tools_users"]), **values) == ["root", user]


@pytest.mark.parametrize(
    ("repositories", "codename", "said", "apt_config"),
    [
        (MIRROR, "bookworm", "", "present"),
        ({}, "noble", "", "absent"),
        (
            MIRROR,
            "noble",
            " from the sources of this machine, as the mirror has packages for bookworm, and this is",
            "present",
        ),
    ],
)
def test_a_system_that_the_mirror_has_nothing_for_is_named(
    repositories: dict[str, str], codename: str, said: str, apt_config: str
) -> None:
    values = {"machine": {"os_codename": codename, "os_name": "Some Linux"}, "host_apt_repositories": repositories}
    text = on("__host_own_sources", **values)
    assert text.startswith(said)
    assert bool(text) is bool(said)
    assert text.endswith("noble (Some Linux)") or not said
    sources, settings = on("__host_apt_files", **values)
    # A machine that lacks no package, as one that was baked, gets the same files.
    assert {"/etc/slipway/slipway.sources", "/etc/slipway/apt.conf"} <= {
        file["path"] for file in on("__host_files", **values)
    }
    assert settings["state"] == apt_config
    assert ("Timeout" in settings["content"]) is bool(said)
    assert sources["state"] == ("present" if codename in repositories else "absent")


@pytest.mark.parametrize("proxy", ["http://proxy.test:3128", "http://user:word@proxy.test:3128"])
def test_apt_settings_are_a_secret_if_a_password_is_in_them(proxy: str) -> None:
    _, settings = on("__host_apt_files", host_proxy={"http": proxy})
    assert proxy in settings["secret" if "@" in proxy else "content"]


@pytest.mark.parametrize(
    ("machine", "acts"),
    [
        ({"swap": ["/dev/vdb"], "swap_masked": True}, True),
        ({"swap": [], "swap_masked": False}, True),
        ({"swap": [], "swap_masked": True}, False),
        ({"swap": ["/dev/vdb"], "swap_masked": False, "container": True}, False),
    ],
)
def test_swap_is_switched_off_on_real_machines_that_have_it(machine: dict[str, Any], acts: bool) -> None:
    """Ansible refuses a condition that is no boolean, such as the list of swap devices."""
    tasks = DataLoader().load_from_file(str(ROLE / "tasks/main.yml"), trusted_as_template=True)
    (condition,) = (task["when"] for task in tasks if task["name"] == "Keep swap off")
    variables = {"slipway_node": {**MACHINE, **machine}}
    assert Templar(loader=DataLoader(), variables=variables).evaluate_conditional(condition) is acts
