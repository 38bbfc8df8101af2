"""The language of a release: what it takes, what it means when little is said, and what editors know of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from slipway.page import schema
from slipway.page.form import keys_of, map_of
from slipway.page.read import SettingsError, read_page
from slipway.release.form import FORM
from slipway.release.model import Release
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.errors import refused, tells
from tests.support.release import RELEASES, one, page, problems

SCHEMA = json.loads((schema.FOLDER / "release.schema.json").read_text(encoding="utf-8"))
PAGES = sorted(RELEASES.glob("*.yml"))
IMAGE = "example.org/app:1.0"
SMALL: dict[str, Any] = {"name": "shop", "hosts": ["shop.local"], "services": {"web": {"versions": {"v1": IMAGE}}}}

each_page = pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])


def fields(model: type[BaseModel], above: str = "", seen: tuple[type, ...] = ()) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in keys_of(model).items():
        yield f"{above}{name}", field
        inner = map_of(field)
        if inner and inner not in seen:
            yield from fields(inner, f"{above}{name}.", (*seen, inner))


FIELDS = list(fields(Release))


@each_page
def test_a_shipped_page_names_its_schema_and_can_be_planned(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../schema/release.schema.json"
    assert (path.parent / first.partition("=")[2]).is_file()
    made = plan(load(path))
    assert made.warnings == []
    assert made.release == path.stem


@each_page
def test_a_shipped_page_passes_the_schema(path: Path) -> None:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(values)] == []


def test_the_schemas_file_is_fresh_and_needs_no_other() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert (schema.FOLDER / "release.schema.json").read_text(encoding="utf-8") == schema.text("release"), (
        "run: python -m slipway.page.schema --write"
    )
    assert set(re.findall(r'"\$ref": "(.*)/[^/"]*"', schema.text("release"))) == {"#/$defs"}


def test_the_command_writes_every_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "FOLDER", tmp_path)
    assert schema.main(["--write"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cluster.schema.json", "release.schema.json"]
    assert (tmp_path / "release.schema.json").read_text(encoding="utf-8") == schema.text("release")


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_key_says_what_it_does_and_shows_an_example(name: str, field: FieldInfo) -> None:
    assert field.description, name
    assert field.description.endswith((".", "?")), name
    assert field.examples, name
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    if field.annotation in (int, int | None):
        assert extra.get("x-unit"), name
    if any(getattr(limit, "pattern", None) for limit in field.metadata):
        assert str(extra["patternErrorMessage"]).startswith("must "), name


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, f in FIELDS if "." not in n])
def test_every_example_is_valid(name: str, field: FieldInfo) -> None:
    for example in field.examples or []:
        Release.model_validate({**SMALL, name: example})


@pytest.mark.parametrize(
    "values",
    [
        {"nmae": "x"},
        {"name": "A"},
        {"weights": {"v1": 101}},
        {"services": {}},
        {"services": {"web": {}}},
        {"services": {"Web": {"versions": {"v1": IMAGE}}}},
        {"services": {"web": {"versions": {"v1": IMAGE}, "protocol": "tcp"}}},
        {"services": {"web": {"versions": {"v1": {"image": IMAGE, "replica": 2}}}}},
        {"sticky": "ip"},
        {"limits": {"per_client": 10}},
        {"alerts": {"X": {"when": "errors > 5%", "severity": "bad"}}},
    ],
)
def test_an_editor_marks_what_is_wrong(values: dict[str, Any]) -> None:
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors({**SMALL, **values}))


def test_hello_says_it_all_in_35_lines() -> None:
    lines = (RELEASES / "hello.yml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 35
    release = load(RELEASES / "hello.yml").release
    assert release.weights == {"v1": 90, "v2": 10}
    assert release.sticky.by == "cookie"
    assert {chain["version"] for chain in plan(load(RELEASES / "hello.yml")).facts["chains"]} == {"v1", "v2"}
    assert str(release.limits.per_client) == "rate='10/minute' burst=None"
    assert [alert.when for alert in release.alerts.values()] == ["errors > 5%"]
    assert release.mail is not None


def test_four_lines_are_a_release(tmp_path: Path) -> None:
    text = "name: shop\nhosts: shop.local\nservices:\n  web: {versions: {v1: example.org/app:1.0}}\n"
    made = plan(load(page(tmp_path, text)))
    assert made.namespace == "shop"
    assert [route["path"] for route in made.facts["routes"]] == ["/"]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"hosts": "a.local"}, {"hosts": ["a.local"]}),
        ({"sticky": "none"}, {"sticky": {"by": "none"}}),
        ({"sticky": {"hash": {"header": "x-u"}}}, {"sticky": {"by": "hash", "hash": {"header": "x-u"}}}),
        ({"routes": {"/": "web"}}, {"routes": {"/": {"to": "web"}}}),
        ({"limits": {"total": "5/second"}}, {"limits": {"total": {"rate": "5/second"}}}),
        ({"alerts": {"X": "errors > 1%"}}, {"alerts": {"X": {"when": "errors > 1%"}}}),
        ({"override": {"header": "X-Show"}}, {"override": {"header": {"name": "x-show"}}}),
        ({"tools": {"grafana": "grafana"}}, {"tools": {"grafana": {"host": "grafana"}}}),
        ({"tracing": "10%"}, {"tracing": 10}),
        (
            {"services": {"web": {"image": IMAGE, "versions": {"v1": None}, "env": {"A": 1}}}},
            {"services": {"web": {"versions": {"v1": {}}, "image": IMAGE, "env": {"A": {"value": "1"}}}}},
        ),
        (
            {
                "services": {
                    "web": {"versions": {"v1": IMAGE}, "retries": 2, "metrics": "/m", "calls": [], "secrets": []}
                }
            },
            {
                "services": {
                    "web": {"versions": {"v1": {"image": IMAGE}}, "retries": {"attempts": 2}, "metrics": {"path": "/m"}}
                }
            },
        ),
    ],
)
def test_the_short_form_means_the_long_one(short: dict[str, Any], long: dict[str, Any]) -> None:
    assert Release.model_validate({**SMALL, **short}) == Release.model_validate({**SMALL, **long})


def test_a_version_adds_to_its_service(tmp_path: Path) -> None:
    service = {
        "image": IMAGE,
        "replicas": 2,
        "env": {"A": "1", "B": "1"},
        "versions": {"v1": None, "v2": {"env": {"B": "2"}, "replicas": 3, "image": "example.org/app:2.0"}},
    }
    made = plan(load(page(tmp_path, {**SMALL, "weights": {"v1": 50, "v2": 50}, "services": {"web": service}})))
    old, new = (one(made, "Deployment", f"web-{version}")["spec"] for version in ("v1", "v2"))
    assert (old["replicas"], new["replicas"]) == (2, 3)
    container = new["template"]["spec"]["containers"][0]
    assert container["image"] == "example.org/app:2.0"
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert old["template"]["spec"]["containers"][0]["env"][1]["value"] == "1"


def test_a_run_may_say_otherwise(tmp_path: Path) -> None:
    path = page(tmp_path, {**SMALL, "tools": {"grafana": "grafana"}})
    made = plan(load(path, {"name": "other", "hosts": ["other.local"], "namespace": None}))
    assert (made.release, made.namespace, made.facts["hosts"]) == ("other", "other", ["other.local"])
    assert made.facts["tools"] == {"grafana": "grafana.other.local"}
    assert plan(load(path, {"namespace": "elsewhere"})).namespace == "elsewhere"


def test_a_run_may_send_mail_elsewhere_where_the_page_sends_any(tmp_path: Path) -> None:
    mail = {"to": "team@example.org", "server": "smtp.example.org:587", "from": "a@example.org"}
    there = {"server": "mail.box.svc.cluster.local:2525", "tls": False}
    made = load(page(tmp_path, {**SMALL, "alerts": {"Bad": "errors > 5%"}, "mail": mail}), {"mail": there}).release.mail
    assert made
    assert (made.server, made.tls, made.sender) == (there["server"], False, "a@example.org")
    assert load(page(tmp_path, SMALL), {"mail": there}).release.mail is None
    (problem,) = problems(
        page(tmp_path, {**SMALL, "alerts": {"Bad": "errors > 5%"}, "mail": mail}), {"mail": {"server": "nowhere"}}
    )
    assert (problem.where, problem.key) == ("(from -e or inventory)", "mail.server")


def test_what_a_run_says_wrongly_is_said_to_come_from_there(tmp_path: Path) -> None:
    path = page(tmp_path, {**SMALL, "namespace": "shop"})
    (problem,) = problems(path, {"namespace": "Not Fine"})
    assert (problem.where, problem.key) == ("(from -e or inventory)", "namespace")
    (problem,) = problems(path, {"wieghts": {"v1": 100}})
    assert "release_weights" in problem.works
    (problem,) = problems(path, {"weights": '{"v1": 100}'})
    assert problem.id == "wrong-type"


def test_a_page_that_is_not_there_is_named(tmp_path: Path) -> None:
    with refused("unreadable-page: the page of the release") as caught:
        load(tmp_path / "none.yml")
    assert "-e release=releases/sms-checker.yml" in caught.value.message


def test_a_page_that_is_no_yaml_is_one_problem(tmp_path: Path) -> None:
    (problem,) = problems(page(tmp_path, "name: [\n"))
    assert problem.id == "yaml-syntax"
    (problem,) = problems(page(tmp_path, "name: {{ x }}\n"))
    tells(problem, "template-on-page: release_hosts")


def test_all_problems_come_at_once_in_the_order_of_the_page(tmp_path: Path) -> None:
    text = "name: A\nhosts: b\nservices:\n  web:\n    port: x\n    versions: {v1: 5}\n"
    with pytest.raises(SettingsError, match=r"This release cannot work \(3 problems\)") as caught:
        load(page(tmp_path, text))
    assert [problem.line for problem in caught.value.problems] == [1, 5, 6]


@pytest.mark.parametrize("text", ["0755", "010", "12:30", "1_000", "0x1F", "0b11", "+5", "-0"])
@pytest.mark.parametrize("key", ["env", "config"])
def test_a_number_that_would_become_another_text_has_to_be_in_quotes(tmp_path: Path, key: str, text: str) -> None:
    lines = "name: a\nhosts: a.local\nservices:\n  web:\n    versions: {v1: a/b:1}\n"
    (problem,) = problems(page(tmp_path, f"{lines}    {key}: {{PORT: 8080, MODE: {text}}}\n"))
    assert (problem.key.removesuffix(".value"), problem.line) == (f"services.web.{key}.MODE", 6)
    assert (problem.value, problem.id) == (text, "needs-quotes")
    assert problem.works.endswith(f': "{text}"')
    assert problems(page(tmp_path, f'{lines}    {key}: {{PORT: 8080, MODE: "{text}"}}\n')) == []


def test_a_number_that_looks_like_a_secret_is_not_shown(tmp_path: Path) -> None:
    text = "name: a\nhosts: a.local\nservices:\n  web: {env: {API_TOKEN: 0755}, versions: {v1: a/b:1}}\n"
    (problem,) = problems(page(tmp_path, text))
    assert problem.value == "(not shown)"
    assert "0755" not in str(problem)


def test_a_number_that_counts_may_be_written_in_any_way(tmp_path: Path) -> None:
    text = "name: a\nhosts: a.local\nservices:\n  web: {port: 8_080, versions: {v1: a/b:1}}\n"
    assert load(page(tmp_path, text)).release.services["web"].port == 8080


@pytest.mark.parametrize(("text", "works"), [("010", "port: 10"), ("1024:1", "port: 1024")])
def test_a_number_that_counts_is_not_read_as_another(tmp_path: Path, text: str, works: str) -> None:
    page_text = f"name: a\nhosts: a.local\nservices:\n  web: {{port: {text}, versions: {{v1: a/b:1}}}}\n"
    (problem,) = problems(page(tmp_path, page_text))
    assert (problem.key, problem.value, problem.line, problem.works) == ("services.web.port", text, 4, works)
    assert problem.id == "misread-number"


def test_a_missing_key_is_placed_where_it_would_stand(tmp_path: Path) -> None:
    found = problems(page(tmp_path, "# nothing\n{}\n"))
    assert {(problem.key, problem.line, problem.value) for problem in found} == {
        (key, 1, "(missing)") for key in ("name", "hosts", "services")
    }
    (problem,) = problems(page(tmp_path, {**SMALL, "mail": {"to": "a@b.c"}}))
    assert (problem.key, problem.works) == ("mail.server", "server: smtp.example.org:587")


def test_lines_are_those_of_the_page(tmp_path: Path) -> None:
    spec = load(page(tmp_path, SMALL))
    assert spec.page.line(("services", "web", "versions", "v1")) == 7
    assert read_page(spec.page.path).values == spec.given


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("services", "web", "port"), "port: 8080"),
        (("services", "web", "versions", "v9", "replicas"), "replicas: 2"),
        (("services", "web", "env", "X"), "X: debug"),
        (("alerts", "X", "for"), "for: 5m"),
        (("mail", "from"), "from: alerts@example.org"),
        (("gateway", "ports", 1), "ports: [80, 8080]"),
        (("dashboards", "x", "panels", 0, "unit"), "unit: reqps"),
    ],
)
def test_the_example_of_a_key_fits_the_key(key: tuple[str | int, ...], line: str) -> None:
    assert FORM.works(key) == line
