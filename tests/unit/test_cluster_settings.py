"""The action plugin that checks the settings, and the playbook that calls it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleUndefinedVariable
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from slipway.lab import surroundings
from slipway.lab.inventory import read_inventory
from slipway.page.model import PAGE, Settings
from slipway.page.read import SETTINGS

from tests.support.errors import refused

ROOT = Path(__file__).resolve().parents[2]
FINE = Settings(cluster_provider="docker").as_values()


@pytest.fixture(autouse=True)
def _ample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLIPWAY_PAGE", "SLIPWAY_STATE", "VAGRANT_DOTFILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(surroundings, "memory", lambda: (64000, 60000))
    monkeypatch.setattr(surroundings, "free_space", lambda _: 10**12)


def action(arguments: dict[str, Any], variables: dict[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location(
        "cluster_settings_action", ROOT / "plugins/action/cluster_settings.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loader = DataLoader()
    task = mock.Mock(args=arguments, check_mode=False, async_val=0, diff=False, _role=None)
    return module.ActionModule(
        task=task,
        connection=mock.Mock(),
        play_context=mock.Mock(),
        loader=loader,
        templar=Templar(loader=loader, variables=variables),
        shared_loader_obj=mock.Mock(),
    )


def run(arguments: dict[str, Any], variables: dict[str, Any]) -> Any:
    return action(arguments, variables).run(task_vars=variables)


def page(folder: Path, text: str = "cluster_provider: docker\n") -> str:
    (folder / "page.yml").write_text(text)
    return str(folder / "page.yml")


def test_settings_that_can_work_come_back(tmp_path: Path) -> None:
    result = run({"page": page(tmp_path), "state": str(tmp_path)}, {**FINE, "other": 1})
    assert result["settings"] == FINE
    assert result["changed"] is False
    assert not result.get("failed")
    assert "warnings" not in result
    assert "_ansible_no_log" not in result


def test_a_variable_of_a_role_that_cannot_be_is_refused_with_what_works(tmp_path: Path) -> None:
    given = {"page": page(tmp_path), "state": str(tmp_path)}
    fine = {
        "istio_trusted_proxies": 1,
        "istio_values": {"a": 1},
        "istio_gateway_ports": [80],
        "mirror_address": "{{ a }}",
    }
    assert run(given, {**FINE, **fine})["settings"] == FINE
    wrong = {"istio_trusted_proxies": "many", "istio_values": ["a"], "metallb_addresses": "{{ unknown }}"}
    said = (
        "role-variable-wrong: istio_trusted_proxies (Number of trusted proxies between clients and the gateway): "
        "argument … works: istio_trusted_proxies: 0 … istio_values (spec of an IstioOperator, merged over Slipway's): "
        "argument … works: istio_values: {}"
    )
    with refused(said, AnsibleActionFail):
        run(given, {**FINE, **wrong})


def test_page_and_state_come_from_the_inventory(tmp_path: Path) -> None:
    found = {
        "slipway_page": page(tmp_path, "cluster_nmae: x\ncluster_provider: docker\n"),
        "slipway_state": str(tmp_path),
    }
    with refused("unknown-key: page.yml:1: cluster_nmae", AnsibleActionFail):
        run({}, {**FINE, **found, "cluster_nmae": "x"})


def test_without_an_inventory_of_ours_they_are_those_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_PAGE", page(tmp_path))
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    assert run({}, FINE)["settings"] == FINE


def test_the_tools_own_example_of_a_page_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SLIPWAY_PAGE", SETTINGS.named.partition("=")[2])
    monkeypatch.setenv("SLIPWAY_CACHE", "/nonexistent")
    read_inventory(PAGE, ROOT / ".slipway", folder=ROOT / "inventory")


def test_the_page_of_another_lab_is_not_checked_in_the_place_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_PAGE", "/other/page.yml")
    with refused("other-lab: SLIPWAY_PAGE=/other/page.yml", AnsibleActionFail):
        run({}, {**FINE, "slipway_page": page(tmp_path), "slipway_state": str(tmp_path)})


def test_an_inventory_without_any_setting_is_named_and_not_every_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"inventory": ("/etc/ansible/hosts",)})
    with pytest.raises(AnsibleActionFail) as caught:
        run({"page": page(tmp_path), "state": str(tmp_path)}, {"other": 1})
    text = str(caught.value)
    assert "None of the settings is known: this run reads the inventory /etc/ansible/hosts" in text
    assert "ANSIBLE_INVENTORY" in text
    assert f"-i {ROOT}/inventory" in text
    assert "is set nowhere" not in text


def test_all_that_is_wrong_is_one_text(tmp_path: Path) -> None:
    wrong = {**FINE, "cluster_name": "A", "cluster_pod_cidr": "192.168.0.0/16"}
    with pytest.raises(AnsibleActionFail) as caught:
        run({"page": page(tmp_path), "state": str(tmp_path)}, wrong)
    text = str(caught.value)
    assert text.startswith("These settings cannot work (3 problems):\n")
    assert "(from -e or inventory): cluster_name: A [wrong-form]\n" in text
    assert "(from -e or inventory): cluster_pod_cidr: 192.168.0.0/16 [network-overlap]\n" in text


def test_templates_are_worked_out(tmp_path: Path) -> None:
    variables = {**FINE, "cluster_dns_domain": trust_as_template("{{ place }}.example.org"), "place": "lab"}
    result = run({"page": page(tmp_path), "state": str(tmp_path)}, variables)
    assert result["settings"]["cluster_dns_domain"] == "lab.example.org"
    del variables["place"]
    with pytest.raises(AnsibleActionFail, match=r"^cluster_dns_domain: .* \[template-fails\]") as caught:
        run({"page": page(tmp_path), "state": str(tmp_path)}, variables)
    assert isinstance(caught.value.__cause__, AnsibleUndefinedVariable)


def test_a_template_of_the_page_is_refused_before_it_is_worked_out(tmp_path: Path) -> None:
    """With an inventory that is not ours nobody else has looked at the page before."""
    text = f"{{{{ lookup('ansible.builtin.pipe', 'touch {tmp_path}/ran') }}}}"
    file = page(tmp_path, yaml.safe_dump({"cluster_provider": "docker", "cluster_ssh_keys": [text]}))
    variables = {**FINE, "cluster_ssh_keys": [trust_as_template(text)]}
    with refused("template-on-page", AnsibleActionFail):
        run({"page": file, "state": str(tmp_path)}, variables)
    assert not (tmp_path / "ran").exists()


def test_a_warning_does_not_stop_the_run(tmp_path: Path) -> None:
    variables = {**FINE, "cluster_box": "debian/bookworm64"}
    result = run({"page": page(tmp_path), "state": str(tmp_path)}, variables)
    (warning,) = result["warnings"]
    assert "machines and inventory are made from" in warning


def test_a_secret_that_came_in_is_not_printed(tmp_path: Path) -> None:
    proxy = {"http": "http://me:pw1@proxy:3128", "https": "", "no_proxy": []}
    result = run({"page": page(tmp_path), "state": str(tmp_path)}, {**FINE, "cluster_proxy": proxy})
    assert result["_ansible_no_log"] is True
    assert result["settings"]["cluster_proxy"] == proxy


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="pgae"):
        run({"pgae": page(tmp_path)}, FINE)


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slipway.page.validation", None)
    with refused("library-missing: run `make setup`", AnsibleActionFail):
        run({}, FINE)


def test_the_documentation_names_the_options() -> None:
    spec = importlib.util.spec_from_file_location("cluster_settings_doc", ROOT / "plugins/modules/cluster_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(yaml.safe_load(module.DOCUMENTATION)["options"]) == {"page", "state", "upgrading"}


# --- the playbook


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    ansible = Path(sys.executable).with_name("ansible-playbook")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_", "VAGRANT_"))
    }
    return subprocess.run(
        [str(ansible), "playbooks/validate.yml", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "SLIPWAY_CACHE": "/nonexistent", "ANSIBLE_LOG_PATH": os.devnull},
    )


@pytest.mark.slow
def test_the_playbook_checks_a_page_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cluster.slipway.yml"
    file.write_text("plugin: slipway\npage: page.yml\nstate: state\n")
    page(tmp_path, "cluster_name: lab\ncluster_provider: hosts\ncluster_artifacts_from: upstream\n" + HOSTS)
    done = play("-i", str(file), "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    refused = play("-i", str(file), "-e", "cluster_mirrors=true", "-e", '{"cluster_pod_cidr": "192.168.0.0/16"}')
    assert refused.returncode == 2
    assert "These settings cannot work (3 problems):" in refused.stdout + refused.stderr
    assert "is no setting; the nearest one is cluster_mirror" in refused.stdout + refused.stderr


HOSTS = "cluster_hosts: [{name: one, address: 192.168.56.9, role: controller}]\n"
