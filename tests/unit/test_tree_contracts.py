"""What the tree as a whole promises: a scenario per role, targets that exist, fresh locks, nothing of one machine."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.documents import commands

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/tasks/main.yml"))
BASE = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())

each_role = pytest.mark.parametrize("role", ROLES)


def tracked() -> list[Path]:
    """Files of the tree that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def functions(path: Path) -> list[str]:
    return [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


@each_role
def test_a_role_has_a_scenario_that_tests_something(role: str) -> None:
    scenario = ROOT / "molecule" / role
    assert (scenario / "molecule.yml").is_file()
    assert (scenario / "converge.yml").is_file()
    tests = [name for path in scenario.glob("tests/test_*.py") for name in functions(path) if name.startswith("test_")]
    assert tests, "a scenario without tests passes its verification in silence"


@each_role
def test_a_scenario_plays_its_role_twice(role: str) -> None:
    own: dict[str, Any] = yaml.safe_load((ROOT / "molecule" / role / "molecule.yml").read_text()) or {}
    sequence = own.get("scenario", {}).get("test_sequence", BASE["scenario"]["test_sequence"])
    assert sequence.index("idempotence") > sequence.index("converge")
    assert "verify" in sequence


@each_role
def test_a_scenario_converges_its_own_role(role: str) -> None:
    converge = (ROOT / "molecule" / role / "converge.yml").read_text()
    assert re.search(rf"(?:-|role:|name:) {role}$|playbooks/phases/{role}\.yml$", converge, re.M)


def test_every_scenario_belongs_to_a_role() -> None:
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    assert scenarios - {"default"} == set(ROLES)


def test_the_lab_has_all_group_variables_but_the_page_from_the_root() -> None:
    """Ansible reads group_vars beside the inventory, so molecule's inventory links each file of the root's."""
    for path in ROOT.glob("group_vars/**/*.yml"):
        name = path.relative_to(ROOT / "group_vars")
        if name != Path("all/cluster.yml"):
            assert (ROOT / "molecule/inventory/group_vars" / name).resolve() == path.resolve(), name


def test_nothing_names_a_place_on_one_machine() -> None:
    here = re.compile(rf"{re.escape(str(ROOT))}(?![\w-])|/home/(?!(?:vagrant|me|user)\b)\w+|/Users/\w+")
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if path != Path(__file__)
        for match in here.finditer(text_of(path))
    }
    assert found == set()


def test_no_private_key_is_in_the_tree() -> None:
    key = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")
    assert [path.relative_to(ROOT) for path in tracked() if key.search(text_of(path))] == []


def test_every_target_of_the_makefile_can_run() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipes = "\n".join(line.strip() for line in makefile.splitlines() if line.startswith("\t"))
    named = set(re.findall(r"(?<![\w./-])(?:playbooks|scripts|tests|bench)/[\w.-]+", recipes))
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_every_target_of_the_makefile_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    assert targets == set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.M))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.M)
    assert targets == set(phony.split())


def test_every_target_of_the_makefile_is_in_the_reference_of_commands() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    rows = re.findall(r"^\| `make ([a-z-]+)` \| \S", (ROOT / "docs/reference/commands.md").read_text(), re.M)
    assert sorted(rows) == sorted(targets)


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_a_lock_holds_what_is_asked_for(name: str) -> None:
    asked = re.findall(r"^([a-z][\w.-]*)(==\S+)?", (ROOT / f"{name}.in").read_text(), re.M)
    lock = (ROOT / f"{name}.txt").read_text()
    locked = dict(re.findall(r"^([a-z][\w.-]*)(?:\[\S+\])?(==\S+)", lock, re.M))
    assert {
        package
        for package, version in asked
        if locked.get(package.replace(".", "-"), "") != (version or locked.get(package.replace(".", "-")))
    } == set(), "make lock renews it"
    assert lock.count("--hash=sha256:") >= len(locked)
    assert not re.search(r"--(?:extra-)?index-url|--find-links|https?://", lock)


def test_a_lock_names_extras_where_packages_ask_for_them() -> None:
    """pip takes the newest ``coverage[toml]`` for another package than the locked ``coverage``, and refuses it."""
    locked = dict(re.findall(r"^([a-z][\w.-]*)(?:\[(\S+)\])?==", (ROOT / "requirements-dev.txt").read_text(), re.M))
    asked = {
        (canonicalize_name(wanted.name), extra, name)
        for name in locked
        for wanted in map(Requirement, _requirements(name))
        if not wanted.marker or wanted.marker.evaluate({"extra": ""})
        for extra in wanted.extras
    }
    assert ("coverage", "toml", "pytest-cov") in asked
    assert {(name, extra) for name, extra, _ in asked if extra not in locked[name].split(",")} == set(), "make lock"


def _requirements(name: str) -> list[str]:
    """What an installed package asks for; nothing for one that this version of Python does not need."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def test_both_locks_agree() -> None:
    runtime, dev = (
        dict(re.findall(r"^([a-z][\w.-]*)==(\S+)", (ROOT / f"{name}.txt").read_text(), re.M))
        for name in ("requirements", "requirements-dev")
    )
    assert {package for package, version in runtime.items() if dev.get(package) != version} == set()


def test_links_between_documents_lead_somewhere() -> None:
    broken = {
        f"{path.relative_to(ROOT)}: {target}"
        for path in tracked()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text())
        if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists()
    }
    assert broken == set()


def test_documents_that_other_files_name_are_there() -> None:
    """A document that has moved is named by comments, docstrings and messages, too, where no link is followed."""
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in tracked()
        if path.suffix in {".py", ".yml", ".j2", ""}
        for name in re.findall(r"(?<![\w/.-])docs/[\w./-]+\.md\b", text_of(path))
    }
    assert ("playbooks/finalization.yml", "docs/how-to/prove-a-release.md") in named
    assert {(path, name) for path, name in named if not (ROOT / name).is_file()} == set()


def headings(path: Path) -> set[str]:
    """Name the headings of a document as links name them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_links_to_headings_lead_somewhere() -> None:
    broken = set()
    for path in tracked():
        for target, heading in re.findall(
            r"\]\(([^)#\s]*)#([^)\s]+)\)", path.read_text() if path.suffix == ".md" else ""
        ):
            document = path.parent / target if target else path
            if "://" not in target and document.suffix == ".md" and heading not in headings(document):
                broken.add(f"{path.relative_to(ROOT)}: {target}#{heading}")
    assert broken == set()


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_commands_in_documents_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        f"{path.relative_to(ROOT)}: make {target}"
        for path in tracked()
        if path.suffix == ".md"
        for target in re.findall(r"`make ([a-z][a-z-]*)", path.read_text())
        if target not in targets
    }
    assert named == set()


def test_the_quick_start_is_what_the_end_to_end_tests_type() -> None:
    first, *rest = commands(ROOT / "README.md", "Quick start")
    assert first.startswith("git clone ")
    assert "make up" in rest
    script = "\n".join(rest)
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


# Documents named these as something to type before the phases had a folder of their own.
BEFORE = {
    "artifacts": "artifacts",
    "balancer": "balancer",
    "dashboards": "consoles",
    "mesh": "mesh",
    "metrics": "metrics",
    "monitoring": "monitoring",
    "nodes": "nodes",
    "storage": "storage",
    "tools": "tools",
    "validate": "validate",
    "workers": "workers",
}


@pytest.mark.parametrize(("name", "phase"), BEFORE.items())
def test_what_was_typed_before_plays_the_phase(name: str, phase: str) -> None:
    # What a phase needs is played before.
    play = yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text())[-1]
    assert play["import_playbook"] == f"phases/{phase}.yml"
    assert (ROOT / f"playbooks/phases/{phase}.yml").is_file()


def test_site_plays_every_phase_and_releases_at_the_end() -> None:
    played = [play["import_playbook"] for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text())]
    phases = sorted(f"phases/{path.name}" for path in ROOT.glob("playbooks/phases/*.yml"))
    assert sorted(played) == ["finalization.yml", *phases]
    assert played[-1] == "finalization.yml"


def test_playbooks_that_are_named_are_there() -> None:
    named = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked()
        if path.suffix in {".md", ".py", ".yml", ".j2", ""} and "unit" not in path.parts
        for name in re.findall(r"(?<![\w/])playbooks/[\w/-]+\.yml", text_of(path))
        if not (ROOT / name).is_file()
    }
    assert named == set()


@pytest.mark.slow
def test_ansible_finds_what_every_playbook_names() -> None:
    paths = sorted(
        path.relative_to(ROOT) for folder in ("playbooks", "playbooks/phases") for path in (ROOT / folder).glob("*.yml")
    )
    ansible = Path(sys.executable).with_name("ansible-playbook")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_"))}
    done = subprocess.run(
        [str(ansible), "--syntax-check", "finalization.yml", *map(str, paths)],
        cwd=ROOT, env={**clean, "ANSIBLE_LOG_PATH": os.devnull}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
