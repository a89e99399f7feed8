"""How large a run is, what it drew its faults from, and what it found: docs/reliability.md."""

from __future__ import annotations

import datetime as dt
import os
import random
import statistics
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
IS_FULL = os.environ.get("CHAOS") == "full"
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
SOAK_S = float(os.environ.get("CHAOS_SOAK") or (300 if IS_FULL else 30))
START = "<!-- measured: chaos -->\n"
END = "<!-- /measured -->"


def times(quick: int, full: int) -> int:
    """How often a fault is injected in this run."""
    return full if IS_FULL else quick


def drawn(purpose: str) -> random.Random:
    """Chance of this run, its own for each purpose, so that no scene depends on another."""
    return random.Random(f"{SEED} {purpose}")


@dataclass(slots=True)
class Line:
    """What a scene did and found."""

    fault: str
    injections: int = 0
    answers: int = 0
    violations: list[str] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)


LINES: list[Line] = []


def table() -> str:
    """All scenes of this run."""
    rows = [
        "| fault | injected | answers checked | violations | normal again: median / longest |",
        "|---|---:|---:|---:|---:|",
    ]
    for fault in dict.fromkeys(line.fault for line in LINES):
        some = [line for line in LINES if line.fault == fault]
        took = [seconds for line in some for seconds in line.recovered_s]
        again = f"{statistics.median(took):.1f} / {max(took):.1f} s" if took else ""
        injections, answers = (
            sum(column)
            for column in zip(*((it.injections, it.answers) for it in some), strict=True)
        )
        violations = sum(len(line.violations) for line in some)
        rows.append(f"| {fault} | {injections:,} | {answers:,} | {violations} | {again} |")
    return "\n".join(rows)


def write() -> None:
    """Put the table into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    command = f"make chaos SEED={SEED} SOAK={SOAK_S:.0f}"
    text = f"\n`{command}`, {dt.date.today():%Y-%m-%d}.\n\n{table()}\n\n"
    PAGE.write_text(f"{before}{START}{text}{END}{after}", "utf-8")
