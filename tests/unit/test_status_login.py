"""`make token`: a token that ends, for the account of a web page; and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.errors import SlipwayError
from slipway.parts import consoles
from slipway.status import login


class Cluster:
    """Answers what it is told to."""

    def __init__(self, status: int, said: dict[str, Any]) -> None:
        self.answer = status, said
        self.asked: list[tuple[str, str, Any]] = []

    def ask(self, path: str, *, method: str = "GET", body: Any = None, accept: str = "") -> tuple[int, dict[str, Any]]:
        assert not accept
        self.asked.append((path, method, body))
        return self.answer


MADE = {"status": {"token": "of-this-test", "expirationTimestamp": "2030-01-01T00:00:00Z"}}


def test_a_token_is_asked_for_the_account_that_may_look_and_for_a_while() -> None:
    cluster = Cluster(201, MADE)
    assert login.token(cluster, "headlamp", 60) == ("of-this-test", "2030-01-01T00:00:00Z")
    ((path, method, body),) = cluster.asked
    assert (path, method) == ("/api/v1/namespaces/headlamp/serviceaccounts/viewer/token", "POST")
    assert body["spec"] == {"expirationSeconds": 3600}


def test_where_the_page_is_not_there_it_is_said_what_else_shows_objects() -> None:
    with pytest.raises(SlipwayError) as caught:
        login.token(Cluster(404, {}), "headlamp", 60)
    assert caught.value.id == "console-missing"
    for text in ("headlamp: true", "make status", "make graph"):
        assert text in str(caught.value)
    with pytest.raises(SlipwayError, match="no right"):
        login.token(Cluster(403, {"message": "no right"}), "kiali", 60)


@pytest.mark.parametrize("text", ["0", "9", "1441", "-5", "1h", ""])
def test_a_time_that_no_token_has_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        login.main([f"--minutes={text}"])
    assert "MINUTES=60" in capsys.readouterr().err


def test_only_the_token_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(login, "state_folder", lambda: tmp_path)
    assert login.main([]) == 1
    assert "make up" in capsys.readouterr().err
    (tmp_path / "kubeconfig").touch()
    monkeypatch.setattr("slipway.cluster.client.Cluster", lambda _: Cluster(201, MADE))
    assert login.main(["--part=kiali"]) == 0
    said = capsys.readouterr()
    assert said.out == "of-this-test\n"
    assert "kiali, until 2030" in said.err
    assert "of-this-test" not in said.err


def test_who_cannot_have_headlamp_is_told_what_else_shows_objects() -> None:
    told = consoles.told({"headlamp": True}, {"images": {}})
    assert "make graph" in told
    assert "make graph" not in consoles.told({"kiali": True}, {"images": {}})
