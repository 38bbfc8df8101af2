"""What the environment may say, and what is said when it cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.textcheck.settings import FORWARDED, Settings, SettingsError, from_env

APPS = Path(__file__).resolve().parents[2] / "apps"
SERVICE = {"APP_ROLE": "service", "APP_NEXT": "http://model-service:8080"}


def settings(**env: str) -> Settings:
    return from_env(SERVICE | env)


def test_a_role_and_its_next_hop_are_enough() -> None:
    found = settings()
    assert found.version == "v1"
    assert found.port == 8080
    assert found.forward == FORWARDED
    assert (found.cache, found.cookie, found.model, found.test_header, found.log) == (0, None, None, False, True)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("APP_NEXT", "http://model-service.shop:9090/v1/", "next_hop", "http://model-service.shop:9090/v1"),
        ("APP_CACHE", "50", "cache", 50),
        ("APP_MODEL", "/models", "model", Path("/models")),
        ("APP_FORWARD", "X-User-Experiment, cookie", "forward", (*FORWARDED, "x-user-experiment", "cookie")),
        ("APP_FORWARD", "b3", "forward", FORWARDED),
        ("APP_TEST_HEADER", "1", "test_header", True),
        ("APP_LOG", "off", "log", False),
        ("APP_TIMEOUT", "0.5", "timeout", 0.5),
        # What Kubernetes sets for a Service called app.
        ("APP_PORT", "tcp://10.96.0.7:80", "port", 8080),
    ],
)
def test_a_variable_is_read(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(settings(**{name: value}), field) == expected


def test_a_cookie_has_a_name_and_a_value() -> None:
    assert settings(APP_COOKIE_NAME="canary-user", APP_COOKIE_VALUE="true").cookie == ("canary-user", "true")


@pytest.mark.parametrize(
    ("name", "value", "works"),
    [
        ("APP_ROLE", "backend", "frontend, service, model or store"),
        ("APP_VERSION", "v1\r\nx: y", "e.g. v1"),
        ("APP_NEXT", "", "APP_NEXT=http://model-service:8080"),
        ("APP_NEXT", "https://model", "APP_NEXT=http://model-service:8080"),
        ("APP_NEXT", "http://model:0", "APP_NEXT=http://model-service:8080"),
        ("APP_NEXT", "http://[model", "APP_NEXT=http://model-service:8080"),
        ("APP_PORT", "http", "0 to 65535"),
        ("APP_PORT", "70000", "APP_PORT=8080"),
        ("APP_CACHE", "-1", "0 to 100000"),
        ("APP_COOKIE_NAME", "canary user", "e.g. canary-user"),
        ("APP_COOKIE_VALUE", "a;b", "e.g. true"),
        ("APP_FORWARD", "content-length", "APP_FORWARD=x-user-experiment,cookie"),
        ("APP_FORWARD", "x y", "APP_FORWARD=x-user-experiment,cookie"),
        ("APP_FEATURES", "letters", "words or pairs"),
        ("APP_TASK", "spam", "sms or analyze"),
        ("APP_TEST_HEADER", "yes", "0 or 1"),
        ("APP_LOG", "text", "json or off"),
        ("APP_TIMEOUT", "0", "APP_TIMEOUT=15"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_one_that_can(name: str, value: str, works: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**{name: value})
    assert name in str(caught.value)
    assert works in str(caught.value)


def test_a_model_has_no_next_hop() -> None:
    assert from_env({"APP_ROLE": "model"}).next_hop == ""
    with pytest.raises(SettingsError, match="leave it out"):
        from_env({"APP_ROLE": "model", "APP_NEXT": "http://model:8080"})


def test_the_readme_names_every_variable() -> None:
    read = set(re.findall(r'"(APP_[A-Z_]+)"', (APPS / "textcheck/settings.py").read_text()))
    rows = re.findall(r"^\| (`APP_.*?) \|", (APPS / "README.md").read_text(), re.M)
    assert set(re.findall(r"APP_[A-Z_]+", " ".join(rows))) == read


def test_a_model_may_come_from_a_store_for_a_token() -> None:
    given = {"APP_ROLE": "model", "APP_MODEL_FROM": "http://store:8080/", "GITHUB_TOKEN": "t0ken"}
    found = from_env(given)
    assert (found.model_from, found.token) == ("http://store:8080", "t0ken")
    assert from_env({"APP_ROLE": "store", "GITHUB_TOKEN": "t0ken"}).next_hop == ""
    with pytest.raises(SettingsError, match="GITHUB_TOKEN is not set"):
        from_env({**given, "GITHUB_TOKEN": ""})
    with pytest.raises(SettingsError, match="GITHUB_TOKEN is not set"):
        from_env({"APP_ROLE": "store"})
    with pytest.raises(SettingsError, match="APP_MODEL_FROM=http://model-store:8080"):
        from_env({**given, "APP_MODEL_FROM": "store:8080"})
    with pytest.raises(SettingsError, match="it is for a model"):
        from_env({**SERVICE, "APP_MODEL_FROM": "http://store:8080"})
    with pytest.raises(SettingsError, match="not shown") as unusable:
        from_env({**given, "GITHUB_TOKEN": "two words"})
    assert "two words" not in str(unusable.value)
