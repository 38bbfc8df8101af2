"""The kubeadm command line and what is shown of its output."""

from __future__ import annotations

import pytest
from slipway.node import kubeadm


@pytest.mark.parametrize(
    ("action", "interrupted", "has_kubelet", "expected"),
    [
        (
            "init",
            False,
            False,
            ["kubeadm", "init", "--config", "c", "--ignore-preflight-errors=Swap"],
        ),
        ("join", False, False, ["kubeadm", "join", "--config", "c", "--ignore-preflight-errors=Swap"]),
        ("join", False, True, ["kubeadm", "join", "--config", "c", "--ignore-preflight-errors=Swap"]),
    ],
)
def test_a_first_run_keeps_all_of_kubeadms_checks(
    action: str, interrupted: bool, has_kubelet: bool, expected: list[str]
) -> None:
    assert kubeadm.command(action, "c", ["Swap"], interrupted, has_kubelet) == expected


def test_no_check_is_named_when_none_is_to_be_ignored() -> None:
    assert kubeadm.command("join", "c", [], False, False) == ["kubeadm", "join", "--config", "c"]


def test_an_interrupted_run_ignores_only_what_it_left_behind_itself() -> None:
    (*_, ignored) = kubeadm.command("init", "c", ["Swap"], True, True)
    names = set(ignored.removeprefix("--ignore-preflight-errors=").split(","))
    assert names == {"Swap", *kubeadm.LEFT_BEHIND}


def test_a_join_goes_on_behind_the_kubelet_that_has_its_credentials() -> None:
    assert "--skip-phases=preflight,kubelet-start" in kubeadm.command("join", "c", [], True, True)
    assert "--skip-phases=preflight,kubelet-start" not in kubeadm.command("join", "c", [], True, False)


def test_a_machine_made_anew_is_told_from_other_failures() -> None:
    refused = 'error: a Node with name "node-1" and status "Ready" already exists in the cluster. You must delete'
    assert kubeadm.is_refused_for_predecessor(f"[kubelet-start] x\n{refused} the existing Node or change the name\n")
    assert not kubeadm.is_refused_for_predecessor('error: cannot get Node "node-1": connection refused')
    assert not kubeadm.is_refused_for_predecessor("")


TOKEN = "abcdef.0123456789abcdef"
KEY = "0123456789abcdef" * 4


def test_tokens_and_keys_do_not_reach_the_log() -> None:
    text = kubeadm.without_secrets(f"join --token {TOKEN} --certificate-key {KEY} --hash sha256:{KEY}")
    assert TOKEN not in text
    assert KEY not in text


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            f"x\n[preflight] Some fatal errors occurred:\n\t[ERROR Port-10250]: in use {TOKEN}\n",
            "[preflight] Some fatal errors occurred:\n[ERROR Port-10250]: in use ********",
        ),
        ("\n".join(f"line {n}" for n in range(20)), "\n".join(f"line {n}" for n in range(5, 20))),
        ("error: no such host\nmore", "error: no such host"),
    ],
)
def test_a_failure_is_told_by_its_errors_or_its_last_lines(output: str, expected: str) -> None:
    assert kubeadm.explain(output) == expected


JOIN = "kubeadm join api.lab.internal:6443 --token t0.k --discovery-token-ca-cert-hash sha256:ab \\n"


def test_what_kubeadm_init_tells_at_its_end_invites_workers() -> None:
    output = """
Your Kubernetes control-plane has initialized successfully!

You can now join any number of control-plane nodes by copying certificate authorities
and service account keys on each node and then running the following as root:

  kubeadm join api.lab.internal:6443 --token t0.k \\
\t--discovery-token-ca-cert-hash sha256:ab \\
\t--control-plane

Then you can join any number of worker nodes by running the following on each as root:

kubeadm join api.lab.internal:6443 --token t0.k \\
\t--discovery-token-ca-cert-hash sha256:ab
"""
    assert kubeadm.invitation(kubeadm.told_invitation(output))["token"] == "t0.k"
    assert kubeadm.told_invitation(output).endswith("--discovery-token-ca-cert-hash sha256:ab")
    assert kubeadm.told_invitation("error") == ""


def test_an_invitation_is_read_from_the_join_command() -> None:
    assert kubeadm.invitation(JOIN) == {"endpoint": "api.lab.internal:6443", "token": "t0.k", "ca_hash": "sha256:ab"}


@pytest.mark.parametrize(
    ("line", "missing"), [("", "endpoint, token, ca_hash"), ("kubeadm join a:1 --token t", "ca_hash")]
)
def test_an_incomplete_join_command_is_refused_without_quoting_it(line: str, missing: str) -> None:
    with pytest.raises(ValueError, match=f"names no {missing}$"):
        kubeadm.invitation(line)


@pytest.mark.parametrize(
    ("before", "now", "state", "hopeless"),
    [
        (0, 19, "auto-restart", False),
        (0, 20, "auto-restart", True),
        (0, 20, "running", False),
        # A run before has left it like that; what comes of it now is still to be seen.
        (500, 505, "auto-restart", False),
        (500, 3, "auto-restart", False),
        (500, 21, "auto-restart", True),
    ],
)
def test_a_kubelet_that_ends_again_and_again_is_told_apart(before: int, now: int, state: str, hopeless: bool) -> None:
    shown = [f"NRestarts={count}\nSubState={state}\n" for count in (now, before)]
    assert kubeadm.ends_again_and_again(*shown) is hopeless
    assert not kubeadm.ends_again_and_again("", shown[1])
