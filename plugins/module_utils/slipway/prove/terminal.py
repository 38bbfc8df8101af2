"""What a proof comes to, in a few lines for the terminal."""

from __future__ import annotations

from pathlib import Path

from .verdicts import Report, Verdict

WIDTH = 150


def summary(report: Report, folder: Path) -> list[str]:
    """Write a line with the counts, one for each claim, and where the report is."""
    counts = report.as_json()["counts"]
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state in ("passed", "failed"))
    rows = [(verdict.state, verdict.title, _seen(verdict)) for verdict in report.verdicts]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [
        "",
        f"{report.release}: {said}"
        + (" (configured: not exercised, for the reason given)" if counts["configured"] else ""),
        *(_cut(f"  {state:<{widths[0]}}  {title:<{min(widths[1], 60)}}  {seen}") for state, title, seen in rows),
        f"  {folder / 'report.html'}",
    ]


def failures(report: Report, folder: Path) -> str:
    """Say of each failed claim what was expected, what was seen and where to look; the report's place ends it."""
    failed = [verdict for verdict in report.verdicts if verdict.state == "failed"]
    claims = f"{len(failed)} claim{'s' * (len(failed) > 1)} of {report.release} failed"
    return "\n".join([f"{claims}:", *(_failed(verdict) for verdict in failed), f"report: {folder / 'report.html'}"])


def _failed(verdict: Verdict) -> str:
    lines = [f"{verdict.id}: {verdict.title}", f"    seen: {verdict.seen}"]
    lines += [f"    expected: {verdict.expected}"] * (verdict.expected != verdict.title)
    return "\n".join([*lines, f"    look at: {verdict.look}"])


def _seen(verdict: Verdict) -> str:
    """Give what was seen without the words that the state says already."""
    return verdict.seen.removeprefix("configured, not exercised: ").removeprefix("skipped: ")


def _cut(line: str) -> str:
    line = " ".join(line.rstrip().split("\n"))
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
