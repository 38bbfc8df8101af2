"""A system that the roles do not know is refused by its name, before anything of that machine is changed."""

from __future__ import annotations

from tests.support.survivor import Survivor

FILE = "/usr/lib/os-release"
OTHER = 'ID=debian\nVERSION_ID="11"\nVERSION_CODENAME=bullseye\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n'


def test_it_is_refused_before_anything_changes(standing: Survivor) -> None:
    clone = standing.checkout
    node = f"{clone.name}-node-2"
    kept = clone.run("docker", "exec", node, "cat", FILE).expect().output
    write = ("docker", "exec", node, "sh", "-c")
    clone.run(*write, f"printf '%s' '{OTHER}' > {FILE}").expect()
    try:
        refused = clone.playbook("playbooks/site.yml")
    finally:
        clone.run(*write, f"printf '%s' '{kept}' > {FILE}").expect()
    assert refused.status
    assert "this machine runs Debian GNU/Linux 11 (bullseye); the roles know debian 12" in refused.output
    assert (refused.recap["node-2"]["failed"], refused.recap["node-2"]["changed"]) == (1, 0)
