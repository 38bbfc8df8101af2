"""kubectl, helm and istioctl work for the users of a controller and on the machine that Ansible runs on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from testinfra.host import Host

from tests.support.kube import Kube

testinfra_hosts = ["ansible://controllers"]


def test_kubectl_works_for_the_user_who_logs_in(host: Host, kube: Kube) -> None:
    nodes = json.loads(host.check_output("kubectl get nodes --output=json"))["items"]
    assert len(nodes) == len(kube.nodes())


def test_that_users_kubeconfig_is_for_them_alone(host: Host) -> None:
    config = host.file(host.check_output("echo ~/.kube/config"))
    assert config.mode == 0o600
    assert config.user == host.user().name


def test_helm_and_istioctl_run_on_a_controller(host: Host, kube: Kube) -> None:
    assert kube.bundle["files"]["helm"]["version"].lstrip("v") in host.check_output("helm version --short")
    assert kube.bundle["files"]["istioctl"]["version"] in host.check_output("istioctl version --remote=false")


def test_the_same_tools_are_on_this_machine(state: Path) -> None:
    environment = {**os.environ, "KUBECONFIG": str(state / "kubeconfig")}
    for command in (
        ["kubectl", "get", "--raw", "/readyz"],
        ["helm", "list"],
        ["istioctl", "version", "--remote=false"],
    ):
        done = subprocess.run(
            [str(state / "bin" / command[0]), *command[1:]],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
