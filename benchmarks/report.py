"""Markdown tables of measurements, and how they get into docs/performance.md.

Only the text between `<!-- measured: NAME -->` and `<!-- /measured -->` is replaced; the rest of
the page is written by hand.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import psutil

missed: list[str] = []  # figures of this run that miss their aim; `make bench` prints them last
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table: the first column is text, the others numbers."""
    all_rows = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in all_rows)


def conditions(command: str) -> str:
    """One line on how a table was measured: command, date, machine and its load."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"`{command}`, {dt.date.today():%Y-%m-%d}: {cores} cores, {memory:.0f} GB, "
        f"Python {platform.python_version()}, load {load:.1f} at the end."
    )


def check_aim(
    figure: str, measured: float, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """Note a figure that misses its aim."""
    if at_least is not None and measured < at_least:
        missed.append(f"{figure}: {measured:.3g}, aimed at {at_least:g} or more")
    if at_most is not None and measured > at_most:
        missed.append(f"{figure}: {measured:.3g}, aimed at {at_most:g} or less")


def publish(name: str, *parts: str) -> None:
    """Print the measured part *name*, and replace it in the page.

    Raises:
        ValueError: the page has no such part.
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
