"""The model: always the same, right often enough, and made once for all who share a folder."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path

import pytest

from apps.textcheck import model
from apps.textcheck.settings import TASKS

each_kind = pytest.mark.parametrize("features", ["words", "pairs"])


@pytest.mark.parametrize(
    ("text", "features", "tokens"),
    [
        ("Call 0900123456 NOW!", "words", ["call", "<phone>", "now", "!"]),
        ("pay $2.99 at http://post.example/x?y=1 today", "words", ["pay", "<money>", "at", "<link>", "today"]),
        ("Room 4, don't", "words", ["room", "4", "don", "t"]),
        ("Über süß", "words", ["über", "süß"]),
        ("not so good", "pairs", ["not", "so", "good", "not so", "so good"]),
        ("", "pairs", []),
    ],
)
def test_a_text_becomes_words(text: str, features: str, tokens: list[str]) -> None:
    assert model.tokens(text, features) == tokens


@each_kind
@pytest.mark.parametrize("task", TASKS)
def test_it_is_right_about_lines_that_it_has_not_seen(features: str, task: str) -> None:
    seen = {text for _label, text in model.read(model.DATA / f"{task}.train.tsv")}
    held_out = model.read(model.DATA / f"{task}.test.tsv")
    assert len(held_out) >= 30
    assert not seen & {text for _label, text in held_out}
    made = model.make(features)
    right = sum(made.classify(task, text)[0] == label for label, text in held_out)
    assert right / len(held_out) >= 0.85
    assert made.accuracy[task] == right / len(held_out)


def test_pairs_are_the_better_model() -> None:
    words, pairs = model.make("words"), model.make("pairs")
    assert all(pairs.accuracy[task] > words.accuracy[task] for task in TASKS)


@each_kind
def test_the_readme_says_how_often_it_is_right(features: str) -> None:
    sms, analyze = (f"{model.make(features).accuracy[task] * 100:.0f} %" for task in TASKS)
    readme = (model.DATA.parents[1] / "README.md").read_text()
    assert re.search(rf"`{features}` {sms} (\(`/sms`\) )?and {analyze}", readme)


@each_kind
def test_it_is_always_the_same(features: str) -> None:
    assert json.dumps(model.make(features)) == json.dumps(model.make(features))


def test_a_text_without_a_known_word_goes_by_how_common_the_labels_are() -> None:
    lines = [("ham", "one"), ("ham", "two"), ("spam", "three")]
    made = model.Model("words", {"sms": model.train(lines, "words")}, {})
    label, confidence = made.classify("sms", "zzz")
    assert label == "ham"
    assert confidence == pytest.approx(2 / 3)


@pytest.mark.parametrize("text", ["free " * 400, "x" * 2000, "!" * 2000, "\ud800"])
def test_a_confidence_is_a_share_for_any_text(text: str) -> None:
    label, confidence = model.make("pairs").classify("sms", text)
    assert label in ("ham", "spam")
    assert 0.5 <= confidence <= 1


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def test_a_folder_keeps_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "models"
    first, source = model.obtain(folder, "words")
    assert source == "made"
    (file,) = files(folder)
    written = file.stat().st_mtime_ns
    assert model.obtain(folder, "words") == (first, "cache")
    assert file.stat().st_mtime_ns == written
    assert not list(folder.glob("*.part"))


def test_models_of_two_kinds_do_not_meet(tmp_path: Path) -> None:
    assert model.obtain(tmp_path, "words")[0].features == "words"
    assert model.obtain(tmp_path, "pairs")[0].features == "pairs"
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    whole, _source = model.obtain(tmp_path, "words")
    (file,) = files(tmp_path)
    data = file.read_bytes()
    damaged = {"cut": data[:-10], "changed": data.replace(b'"ham"', b'"hum"'), "empty": b""}
    file.write_bytes(damaged[damage])
    assert model.obtain(tmp_path, "words") == (whole, "made")
    assert model.obtain(tmp_path, "words") == (whole, "cache")


def test_a_half_written_file_of_a_killed_process_is_in_nobodys_way(tmp_path: Path) -> None:
    model.obtain(tmp_path, "words")
    (file,) = files(tmp_path)
    file.replace(file.with_suffix(".part"))
    assert model.obtain(tmp_path, "words")[1] == "made"


def test_a_folder_that_cannot_be_written_is_named_with_what_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(model.ModelError, match=r"APP_MODEL=.*/file/models: .*fsGroup"):
        model.obtain(tmp_path / "file" / "models", "words")


def test_a_lock_that_is_never_given_back_is_no_endless_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "LOCK_SECONDS", 0.1)
    with (tmp_path / "textcheck.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(model.ModelError, match="was not free"):
            model.obtain(tmp_path, "words")


def test_a_model_is_downloaded_once_and_kept(tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(features: str) -> model.Model:
        asked.append(features)
        return model.make(features)

    first = model.obtain(tmp_path, "words", fetch)
    assert first == (model.make("words"), "downloaded")
    assert model.obtain(tmp_path, "words", fetch) == (first[0], "cache")
    assert asked == ["words"]


def test_a_store_that_is_not_there_yet_is_asked_again_until_time_is_up() -> None:
    tries: list[int] = []
    most = [2]

    def get() -> tuple[model.Model, str]:
        tries.append(1)
        if len(tries) < most[0]:
            raise model.NotYetError("nobody answers")
        return model.make("words"), "downloaded"

    assert model.patiently(get, 5)[1] == "downloaded"
    most[0] = 99
    with pytest.raises(model.ModelError, match="no model within 0 s: nobody answers"):
        model.patiently(get, 0)
