"""What every role, playbook and page of variables promises, so that a setting can be traced in at most three files."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.page.model import Settings

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/tasks/main.yml"))
PREFIX = "cluster_"
# Set by the inventory plugin and by the module node_state, for every role.
FACTS = {
    "slipway_page",
    "slipway_state",
    "slipway_provider",
    "slipway_node",
    "slipway_joined",
    "slipway_machines_left",
    "slipway_patience",
    "slipway_pods_asked",
}

each_role = pytest.mark.parametrize("role", ROLES)


@functools.cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.is_file() else {}


def defaults(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "defaults/main.yml") or {}


def options(role: str) -> dict[str, dict[str, Any]]:
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml").get("argument_specs", {})
    return {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}


def sources(*patterns: str) -> dict[Path, str]:
    """Text of the files, without their YAML and Jinja comments."""
    files = sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()})
    return {path: re.sub(r"(?m)^\s*#.*$|\{#.*?#\}", "", path.read_text()) for path in files}


def settings() -> set[str]:
    """Names of the page's keys."""
    return {name if name.startswith(PREFIX) else PREFIX + name for name in Settings.model_fields}


def test_there_are_roles_to_look_at() -> None:
    assert len(ROLES) >= 9


@each_role
def test_defaults_and_spec_name_the_same_variables(role: str) -> None:
    shared = {name for name in options(role) if name.startswith(PREFIX)}
    assert set(defaults(role)) == set(options(role)) - shared


@each_role
def test_a_variable_carries_the_name_of_its_role(role: str) -> None:
    internal = load(ROOT / "roles" / role / "vars/main.yml") or {}
    assert {name for name in defaults(role) if not name.startswith(f"{role}_")} == set()
    assert {name for name in internal if not name.startswith(f"__{role}_")} == set()


@each_role
def test_each_option_has_a_type_and_a_sentence_and_no_default(role: str) -> None:
    for name, option in options(role).items():
        assert option.get("type"), name
        assert option.get("description"), name
        assert "default" not in option, f"{name}: the one home of a value is defaults/main.yml"


@each_role
def test_what_has_no_safe_value_is_required_and_says_what_would_work(role: str) -> None:
    unset = {name for name, value in defaults(role).items() if isinstance(value, str) and "undef(" in value}
    required = {name for name, option in options(role).items() if option.get("required")}
    assert {name for name in unset if "hint=" not in defaults(role)[name]} == set()
    assert {name for name in required if not name.startswith(PREFIX)} == unset


@each_role
def test_every_default_is_used_by_its_role(role: str) -> None:
    text = "\n".join(sources(f"roles/{role}/**/*").values())
    assert {name for name in defaults(role) if len(re.findall(rf"\b{name}\b", text)) < 3} == set(), (
        "in defaults and spec, but nowhere else"
    )


@each_role
def test_a_role_does_not_read_the_variables_of_another(role: str) -> None:
    others = {name for other in ROLES if other != role for name in defaults(other)}
    own = set(defaults(role)) | set(options(role))
    for path, text in sources(f"roles/{role}/**/*").items():
        read = set(re.findall(r"\b_*[a-z][a-z0-9_]*\b", text))
        assert read & (others - own) == set(), path.relative_to(ROOT)


@each_role
def test_a_role_has_no_dependencies(role: str) -> None:
    assert not load(ROOT / "roles" / role / "meta/main.yml").get("dependencies")


@each_role
def test_own_variables_get_their_value_in_defaults_alone(role: str) -> None:
    for path, text in sources(f"roles/{role}/tasks/*", f"roles/{role}/templates/*", f"roles/{role}/vars/*").items():
        twice = re.findall(rf"\b{role}_\w+\s*\|\s*(?:default|d)\(", text)
        assert twice == [], path.relative_to(ROOT)


def test_group_vars_set_only_variables_that_a_role_or_the_page_declares() -> None:
    known = settings() | {name for role in ROLES for name in options(role)}
    used = {name for path in ROOT.glob("group_vars/**/*.yml") for name in load(path) or {}}
    assert {name for name in used - known if not name.startswith("slipway_")} == set()


def test_the_page_shows_every_setting() -> None:
    assert set(load(ROOT / "group_vars/all/cluster.yml")) == settings()


def test_wiring_reads_no_default_of_a_role() -> None:
    """A default is known only in a play that has its role; what is handed on has to be set beside where it is read."""
    given = {name for path in ROOT.glob("group_vars/**/*.yml") for name in load(path) or {}}
    declared = {name for role in ROLES for name in options(role)}
    text = "\n".join(sources("group_vars/**/*.yml").values())
    assert {name for name in declared - given if re.search(rf"\b{name}\b", text)} == set()


def test_what_a_role_requires_is_handed_to_it() -> None:
    handed = {name for path in ROOT.glob("group_vars/**/*.yml") for name in load(path) or {}}
    by_hand = "\n".join(sources("playbooks/**/*.yml").values())
    needed = {name for role in ROLES for name, option in options(role).items() if option.get("required")}
    assert {name for name in needed - handed if not re.search(rf"\b{name}\b", by_hand)} == set()


def test_shared_values_are_set_where_they_are_read() -> None:
    wired = {name for path in ROOT.glob("group_vars/**/*.yml") for name in load(path) or {}}
    text = "\n".join(sources("roles/**/*", "playbooks/**/*", "group_vars/**/*.yml").values())
    variables = set(re.findall(r"(?<![\w/.'-])slipway_\w+\b", text))
    assert variables - wired - FACTS == set()


def test_no_role_but_host_asks_for_the_provider() -> None:
    text = {path: text for path, text in sources("roles/**/*").items() if "roles/host/" not in str(path)}
    assert [path.relative_to(ROOT) for path, text in text.items() if "slipway_provider" in text] == []
