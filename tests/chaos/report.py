"""Size and seed of a chaos run, and its results, written into docs/reliability.md."""

from __future__ import annotations

import datetime as dt
import os
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import ROOT

PAGE = ROOT / "docs" / "reliability.md"
IS_FULL = os.environ.get("CHAOS") == "full"
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
SOAK_S = float(os.environ.get("CHAOS_SOAK") or (300 if IS_FULL else 20))
END = "<!-- /measured -->"
ALL, SOAK = "chaos", "soak"  # parts of the page
LONG_RUN = "long_run"  # picks the soak alone


def times(quick: int, full: int) -> int:
    """How often a fault is injected in this run."""
    return full if IS_FULL else quick


def random_for(purpose: str) -> random.Random:
    """A random generator of this run for one purpose, so that no scene depends on another."""
    return random.Random(f"{SEED} {purpose}")


@dataclass(slots=True)
class Line:
    """The result of one scene."""

    fault: str
    part: str = ALL  # of the page, if it was run alone
    injections: int = 0
    answers: int = 0
    violations: list[str] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)


LINES: list[Line] = []


def table(lines: Sequence[Line]) -> str:
    """These scenes, a row each."""
    rows = [
        "| fault | injected | answers checked | violations | normal again: median / longest |",
        "|---|---:|---:|---:|---:|",
    ]
    for fault in dict.fromkeys(line.fault for line in lines):
        some = [line for line in lines if line.fault == fault]
        took = [seconds for line in some for seconds in line.recovered_s]
        again = f"{statistics.median(took):.1f} / {max(took):.1f} s" if took else ""
        injections, answers = (
            sum(column)
            for column in zip(*((it.injections, it.answers) for it in some), strict=True)
        )
        violations = sum(len(line.violations) for line in some)
        rows.append(f"| {fault} | {injections:,} | {answers:,} | {violations} | {again} |")
    return "\n".join(rows)


def part_of(picked: str, lines: Sequence[Line]) -> str | None:
    """Which part of the page a run writes: a complete one all, the soak its own, others none.

    Args:
        picked: what the run was narrowed to, by `-k` or by naming files; empty if it was not.
    """
    if not picked:
        return ALL
    return SOAK if lines and all(line.part == SOAK for line in lines) else None


def command(part: str) -> str:
    """What repeats this run."""
    alone = f' ARGS="-k {LONG_RUN}"' if part == SOAK else ""
    return f"make chaos SEED={SEED} SOAK={SOAK_S:.0f}{alone}"


def write(part: str, lines: Sequence[Line], page: Path = PAGE) -> None:
    """Put the table into its part of the page; the others stay as they are.

    Raises:
        ValueError: the page has no such part.
    """
    start = f"<!-- measured: {part} -->\n"
    before, found, rest = page.read_text("utf-8").partition(start)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{page.name} has no part {part!r}")
    text = f"\n`{command(part)}`, {dt.date.today():%Y-%m-%d}.\n\n{table(lines)}\n\n"
    page.write_text(f"{before}{start}{text}{END}{after}", "utf-8")
