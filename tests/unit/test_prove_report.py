"""The report: its numbers are those of report.json, and nothing in it comes from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from slipway import prove
from slipway.prove import report as page

PICTURES: dict[str, Any] = {
    "shares": [
        {"route": "/", "version": "v1", "weight": 90, "seen": 360, "of": 472, "share": 76.27, "low": 72.2, "high": 80.0,
         "accepted": [84.5, 95.2]},
        {"route": "/", "version": "v2", "weight": 10, "seen": 47, "of": 472, "share": 9.96, "low": 7.4, "high": 13.0,
         "accepted": [4.8, 15.5]},
    ],
    "chains": [{"caller": "front", "callee": "back", "counts": {"v1": {"v1": 300}, "v2": {"v2": 40, "v1": 3}}}],
    "limits": [{"title": "all: <10/minute>", "tokens": 10, "clients": {"client 1": [[0.1, 200], [0.2, 429], [3, 0]]}}],
    "latency": [{"version": "v1", "of": 300, "p50": 8.1, "p90": 20.0, "p99": 43.0, "most": 60.0}],
    "topology": {
        "nodes": [
            {"name": "front", "column": 1, "versions": ["v1", "v2"]},
            {"name": "back", "column": 2, "versions": []},
        ],
        "calls": [
            {"caller": "gateway", "callee": "front", "path": "/"},
            {"caller": "front", "callee": "back", "seen": 343},
        ],
    },
}  # fmt: skip


CHANGE: dict[str, Any] = {
    "seconds": 12.0, "bar": 1.0, "versions": {"front v1": [20] * 12, "front <v2>": [0] * 10 + [3, 4]},
    "failures": [[3.0, 503], [3.1, 503], [4.0, 0]], "foreign": [[5.0, "front <v2>"]], "moved": [],
    "steps": [["Apply <it>", 2.0], ["Wait", 4.5]], "change": [1.0, 11.0],
}  # fmt: skip


def made(*states: str) -> prove.Report:
    verdicts = [
        prove.Verdict(f"c-{i}", "share", f"claim <{i}>", state, "much", f"seen & {i}", "kubectl get it")  # type: ignore[arg-type]
        for i, state in enumerate(states)
    ]
    return prove.Report("shop", "shop", verdicts, PICTURES)


@pytest.mark.parametrize(("states", "code"), [(("passed", "configured", "skipped"), 0), (("passed", "failed"), 1)])
def test_both_files_are_written_and_the_code_says_pass_or_fail(tmp_path: Path, states: Any, code: int) -> None:
    report = made(*states)
    assert page.write(report, tmp_path / "deep" / "report") == code
    data = json.loads((tmp_path / "deep" / "report" / "report.json").read_text())
    assert data == report.as_json()
    text = (tmp_path / "deep" / "report" / "report.html").read_text()
    for number in ("76.27 % (360/472)", "9.96 % (47/472)", "8 / 20 / 43 ms", "343 seen", ">40</td>", "1 of 3"):
        assert number in text
    for index, state in enumerate(states):
        assert f"claim &lt;{index}&gt;" in text
        assert f"seen &amp; {index}" in text
        assert f'<span class="state">{state}</span>' in text
    assert ("kubectl get it" in text) == (code == 1)
    assert "<10/minute>" not in text


def test_the_page_needs_nothing_from_outside_and_fits_both_themes_and_a_phone() -> None:
    text = page.page(made("passed").as_json())
    assert not re.search(r"<script|<link|<img|@import|url\(|src=|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_pictures_are_well_formed() -> None:
    pictures = re.findall(r"<svg.*?</svg>", page.page(made("passed").as_json()), re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        ET.fromstring(picture)  # noqa: S314  made here


def test_pictures_fit_the_width_of_a_phone_and_what_they_say_is_in_them() -> None:
    text = page.page(made("passed").as_json())
    assert "min-width" not in text
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        drawn = ET.fromstring(picture)  # noqa: S314  made here
        _, _, width, height = map(float, drawn.attrib["viewBox"].split())
        assert width == page.WIDTH
        for item in drawn.iter():
            for name, most in (
                ("x", width),
                ("x1", width),
                ("x2", width),
                ("cx", width),
                ("y", height),
                ("cy", height),
            ):
                assert 0 <= float(item.attrib.get(name, 0)) <= most, item.attrib
            if item.tag == "rect":
                assert float(item.attrib["x"]) + float(item.attrib["width"]) <= width + 0.1


def test_without_pictures_there_is_still_a_page() -> None:
    text = page.page({**made("failed").as_json(), "pictures": {}})
    assert "<svg" not in text
    assert "is not proved" in text


def test_the_accepted_band_decides_the_colour() -> None:
    drawn = page.shares(PICTURES["shares"])
    assert re.findall(r'<circle[^>]*class="(\w+)"', drawn) == ["bad", "good"]


def test_a_change_is_drawn_over_time_with_its_steps_and_what_went_wrong() -> None:
    data = made("passed").as_json()
    data["pictures"] = {**PICTURES, "change": CHANGE}
    text = page.page(data)
    (picture,) = (each for each in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if "While it changed" in each)
    ET.fromstring(picture)  # noqa: S314  made here
    assert 'viewBox="0 0 360 ' in picture
    for told in ("failed: 3", "not theirs: 1", "240, at most 20/s", "front &lt;v2&gt;", "Apply &lt;it&gt;, 2.0 s"):
        assert told in picture
    assert "moved" not in picture
    assert "<li>4.5 s: Wait</li>" in text
    assert "While it changed" not in page.page(made("passed").as_json())


def test_a_change_without_any_answer_is_drawn_too() -> None:
    assert page.change({}) == ""
    empty = {**CHANGE, "seconds": 0.0, "versions": {}, "failures": [], "foreign": [], "steps": []}
    ET.fromstring(page.change(empty))  # noqa: S314  made here
