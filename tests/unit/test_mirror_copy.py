"""How role mirror gets a bundle by a copy, in Ansible's own templating."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

COPY = Path(__file__).parents[2] / "roles/mirror/tasks/copy.yml"


@pytest.mark.parametrize(("code", "goes_on"), [(0, True), (2, False)])
def test_a_mirror_without_rsync_is_named_before_anything_is_copied(code: int, goes_on: bool) -> None:
    tasks: list[dict[str, Any]] = DataLoader().load_from_file(str(COPY), trusted_as_template=True)
    kinds = [next(key for key in task if "." in key) for task in tasks]
    assert kinds[:3] == ["ansible.builtin.command", "ansible.builtin.assert", "ansible.posix.synchronize"]
    variables = {"inventory_hostname": "sun", tasks[0]["register"]: {"rc": code}}
    templar = Templar(loader=DataLoader(), variables=variables)
    check = tasks[1]["ansible.builtin.assert"]
    assert templar.evaluate_conditional(check["that"]) is goes_on
    assert templar.template(check["fail_msg"]).startswith("sun has no rsync")
