"""The report as report.json and as one page without anything from outside, light and dark, on a phone too.

The pictures are small SVG made here: as part of the page they take its colours and fonts, in both themes.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from .verdicts import Report

Json = dict[str, Any]
PAGE = Path(__file__).with_name("report.html.j2")
# As wide as a phone shows without scrolling, so words stand above the bars and calls go downwards.
WIDTH, PAD = 360.0, 8.0


def place(folder: Path, release: str, namespace: str) -> Path:
    """Give the folder of a release's report: the same page in another namespace has one of its own."""
    return folder / (release if namespace in ("default", release) else f"{release}.{namespace}")


def write(report: Report, folder: Path) -> int:
    """Write ``report.json`` and ``report.html`` into ``folder``; 0 when everything passed or 1, for the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    data = report.as_json()
    (folder / "report.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(data), encoding="utf-8")
    return 0 if report.passed else 1


def page(data: Json) -> str:
    """Make the page of what report.json holds."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pictures = data["pictures"]
    limits = pictures.get("limits", [])
    drawn = {
        "change": _marked(change(pictures.get("change") or {})),
        "shares": _marked(shares(pictures.get("shares", []))),
        "limits": [(limit["title"], _marked(timeline(limit))) for limit in limits],
        "latency": _marked(latency(pictures.get("latency", []))),
        "topology": _marked(topology(pictures.get("topology", {"nodes": [], "calls": []}))),
    }
    return environment.from_string(PAGE.read_text(encoding="utf-8")).render(data=data, drawn=drawn)


def _marked(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704  every text in it is escaped by _text and _svg


def _svg(height: float, title: str, parts: list[str], width: float = WIDTH) -> str:
    if not parts:
        return ""
    box = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img"'
    return f'<svg {box} aria-label="{escape(title)}">' + "".join(parts) + "</svg>"


def _text(x: float, y: float, text: object, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(str(text))}</text>'


def _line(x: float, y: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3" class="{kind}"/>'


def change(picture: Json) -> str:
    """Draw a change in time: for each version its answers, what went wrong as marks, the run's steps as lines."""
    if not picture:
        return ""
    seconds, bar, versions = picture["seconds"] or 1.0, picture["bar"], picture["versions"]
    top, tall, high = 16.0, 58.0, 34.0
    most = max((max(row) for row in versions.values()), default=0) or 1
    marks = [("failed", "bad", [at for at, _ in picture["failures"]]),
             ("not theirs", "bad", [at for at, _ in picture["foreign"]]),
             ("moved", "bad", picture["moved"])]  # fmt: skip
    marks = [mark for mark in marks if mark[2]]
    bottom = top + tall * len(versions) + 30.0 * len(marks)

    def x(at: float) -> float:
        return PAD + (WIDTH - 2 * PAD) * min(max(at, 0.0), seconds) / seconds

    begin, end = picture["change"]
    parts = [_box(x(begin), top, max(1.0, x(end) - x(begin)), bottom - top, "during")]
    numbered = -WIDTH
    for number, (name, began) in enumerate(picture["steps"], 1):
        line = _line(x(began), top - 4, x(began), bottom, "call thin")
        parts.append(f"<g><title>{escape(name)}, {began:.1f} s</title>{line}</g>")
        if x(began) - numbered >= 14:
            # Of steps that follow at once the first one's number stands for all.
            parts.append(_text(x(began), 10, number, "small", "middle"))
            numbered = x(began)
    for index, (name, row) in enumerate(versions.items()):
        y = top + tall * index + 20 + high
        parts += [_text(PAD, y - high - 6, name), _line(PAD, y, WIDTH - PAD, y, "axis")]
        parts.append(_text(WIDTH - PAD, y - high - 6, f"{sum(row)}, at most {max(row) / bar:.0f}/s", "small", "end"))
        for place, count in enumerate(row):
            if count:
                left, right = x(place * bar), x((place + 1) * bar)
                parts.append(
                    _box(left, y - high * count / most, max(1.0, right - left - 1), high * count / most, "rate")
                )
    for index, (name, kind, times) in enumerate(marks):
        y = top + tall * len(versions) + 30.0 * index + 20
        parts += [_text(PAD, y - 8, f"{name}: {len(times)}", "small"), _line(PAD, y, WIDTH - PAD, y, "axis")]
        # As many marks as can be told apart.
        places = sorted({round(x(at)) for at in times})
        parts += [f'<circle cx="{place}" cy="{y:g}" r="3" class="{kind}"/>' for place in places]
    parts += [
        _text(PAD, bottom + 14, "0 s", "small"),
        _text(WIDTH - PAD, bottom + 14, f"{seconds:.0f} s", "small", "end"),
    ]
    return _svg(bottom + 20, "While it changed: answers by version over time", parts)


def shares(rows: list[Json]) -> str:
    """Draw for each version its share: what is accepted as a band, the weight as a mark, what was seen with 95 %."""
    parts, left, right = [], PAD, WIDTH - PAD

    def x(share: float) -> float:
        return left + (right - left) * share / 100

    for index, row in enumerate(rows):
        y = 38 + index * 58
        low, high = row["accepted"]
        inside = low <= row["share"] <= high
        parts += [
            _text(0, y - 22, f"{row['route']} {row['version']}"),
            _text(WIDTH, y - 22, f"{row['share']:g} % ({row['seen']}/{row['of']})", "", "end"),
            _line(left, y, right, y, "axis"),
            _box(x(low), y - 9, max(2.0, x(high) - x(low)), 18, "band"),
            _line(x(row["weight"]), y - 13, x(row["weight"]), y + 13, "mark"),
            _line(x(row["low"]), y, x(row["high"]), y, "good wide" if inside else "bad wide"),
            f'<circle cx="{x(row["share"]):.1f}" cy="{y}" r="5" class="{"good" if inside else "bad"}"/>',
        ]
    if rows:
        y = 10 + len(rows) * 58
        ends = {0: "start", 100: "end"}
        parts += [_text(x(tick), y, f"{tick} %", "small", ends.get(tick, "middle")) for tick in (0, 25, 50, 75, 100)]
    return _svg(18 + len(rows) * 58, "Shares against weights", parts)


def timeline(limit: Json) -> str:
    """Draw the answers of each client in time: let through, or 429."""
    clients = limit["clients"]
    times = [at for points in clients.values() for at, _ in points]
    parts, left, right = [], PAD, WIDTH - PAD
    begin, end = (min(times), max(times)) if times else (0.0, 0.0)
    for index, (name, points) in enumerate(clients.items()):
        y = 32 + index * 42
        let = sum(status not in (0, 429) for _, status in points)
        parts += [
            _text(0, y - 16, name, "small"),
            _text(WIDTH, y - 16, f"{let} of {len(points)}", "small", "end"),
            _line(left, y, right, y, "axis"),
        ]
        for at, status in points:
            x = left + (right - left) * ((at - begin) / (end - begin) if end > begin else 0.5)
            kind = "bad" if status == 429 else "good" if status else "lost"
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="4" class="{kind}"><title>{status:g}, {at - begin:.2f} s</title></circle>')  # noqa: E501  # fmt: skip
    if clients:
        y = 12 + len(clients) * 42
        parts += [_text(0, y, "0 s", "small"), _text(WIDTH, y, f"{end - begin:.1f} s", "small", "end")]
    return _svg(20 + len(clients) * 42, limit["title"], parts)


def latency(rows: list[Json]) -> str:
    """Draw for each version the median, the 90th and the 99th of a hundred, in milliseconds."""
    most = max([row["p99"] for row in rows], default=0) or 1.0
    parts, left, right = [], PAD, WIDTH - PAD
    for index, row in enumerate(rows):
        y = 36 + index * 54
        scale = (right - left) / most
        parts += [
            _text(0, y - 20, f"{row['version']} ({row['of']})"),
            _text(WIDTH, y - 20, f"{row['p50']:.0f} / {row['p90']:.0f} / {row['p99']:.0f} ms", "", "end"),
            _line(left, y, left + row["p99"] * scale, y, "axis wide"),
            _box(left, y - 8, max(1.0, row["p90"] * scale), 16, "band"),
            _line(left + row["p50"] * scale, y - 11, left + row["p50"] * scale, y + 11, "mark"),
        ]
    return _svg(len(rows) * 54, "Time of answers by version: median, 90 %, 99 %", parts)


def topology(drawn: Json) -> str:
    """Draw services in rows by their distance from the gateway, and the calls between them."""
    rows: dict[int, list[str]] = {0: ["gateway"]} if drawn["nodes"] else {}
    versions = {node["name"]: ", ".join(node["versions"]) for node in drawn["nodes"]}
    for node in drawn["nodes"]:
        rows.setdefault(node["column"], []).append(node["name"])
    gap, most = 16.0, max(map(len, rows.values()), default=1)
    wide = max(WIDTH, most * 110 + (most - 1) * gap)
    width = min(160.0, (wide - (most - 1) * gap) / most)
    places = {
        name: ((wide - len(names) * width - (len(names) - 1) * gap) / 2 + place * (width + gap), 4.0 + row * 86)
        for row, names in rows.items()
        for place, name in enumerate(names)
    }
    parts = []
    for call in drawn["calls"]:
        (x, y), (x2, y2) = places[call["caller"]], places[call["callee"]]
        parts.append(_line(x + width / 2, y + 44, x2 + width / 2, y2, "call"))
        about = call.get("path") or (f"{call['seen']} seen" if call.get("seen") else "")
        parts.append(_text((x + x2 + width) / 2 + 6, (y + 44 + y2) / 2 + 4, about, "small"))
    for name, (x, y) in places.items():
        fits = len(name) * 8 <= width
        parts += [_box(x, y, width, 44, "node"), _text(x + width / 2, y + 19, name, "" if fits else "tight", "middle")]
        parts.append(_text(x + width / 2, y + 35, versions.get(name, ""), "small", "middle"))
    return _svg(86 * (max(rows, default=0) + 1) - 34, "Services and calls", parts, wide)
