"""Measured tables, and docs/performance.md, into which they are written.

The page is written by hand but for what stands between `<!-- measured: NAME -->` and
`<!-- /measured -->`: only that is replaced, so no prose is lost.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import psutil

missed: list[str] = []  # figures of this run that miss their aim, for `make bench` to end with
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table: the first column is text, the others numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def conditions(command: str) -> str:
    """When, where and how; the machine's load, for whoever wonders at a figure."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"`{command}`, {dt.date.today():%Y-%m-%d}: {cores} cores, {memory:.0f} GB, "
        f"Python {platform.python_version()}, load {load:.1f} at the end."
    )


def aimed(
    what: str, measured: float, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """Note a figure that misses its aim."""
    if at_least is not None and measured < at_least:
        missed.append(f"{what}: {measured:.3g}, aimed at {at_least:g} or more")
    if at_most is not None and measured > at_most:
        missed.append(f"{what}: {measured:.3g}, aimed at {at_most:g} or less")


def put(name: str, *parts: str) -> None:
    """Print what was measured, and write it into the page where it says so.

    Raises:
        ValueError: the page has no such place.
    """
    text = "\n\n".join(parts)
    print(f"\n{text}", flush=True)
    page = PAGE.read_text("utf-8")
    start = f"<!-- measured: {name} -->\n"
    before, found, rest = page.partition(start)
    _, end, after = rest.partition("<!-- /measured -->")
    if not found or not end:
        raise ValueError(f"{PAGE.name} has no measured part {name!r}")
    PAGE.write_text(f"{before}{start}\n{text}\n\n{end}{after}", "utf-8")
