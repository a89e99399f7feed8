"""Where ours does not win: every figure in which a baseline is ahead, or chance may explain it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from benchmarks.quality.methods import METHODS, OURS
from benchmarks.quality.tables import METRICS, share, table

TRIVIAL = "frequent"  # ahead in ECE only, having one confidence for all rows
# Key, name, and whether more is better.
FIGURES = (
    ("accuracy", "accuracy", True),
    ("f1_macro", "macro-F1", True),
    ("accuracy_seen", "accuracy, merchants learned", True),
    ("accuracy_unseen", "accuracy, merchants not learned", True),
    ("top3_accuracy", "top 3", True),
    ("calibration_error", "ECE", False),
    ("coverage_at_95", "cov@95", True),
)
Figures = Mapping[str, Any]  # of one method


def losses(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """As Markdown."""
    judged = sorted(
        ((record["data"], *one) for record in records for one in _judged(record)),
        key=itemgetter(0, 1),
    )
    behind = [row for one in judged for row in _behind(*one)]
    unsure = [row for record in records for row in _unsure(record)]
    yield from _listed(
        behind,
        "The best baseline is ahead in:",
        ["data", "learned", "figure", "ours", "best", "by"],
        none="No baseline is ahead in any figure.",
    )
    yield ""
    yield from _listed(
        unsure,
        "These differences to the best baseline are not significant (resampling merchants):",
        ["data", "learned", "figure", "against", "difference", "95%"],
        none="All differences to the best baseline are significant.",
    )


def _listed(rows: list[list[str]], intro: str, head: list[str], *, none: str) -> Iterator[str]:
    yield from [intro, "", *table(head, rows)] if rows else [none]


def _behind(data: str, learned: int, methods: Mapping[str, Figures]) -> Iterator[list[str]]:
    for key, shown, more in FIGURES:
        found = {
            name: figures[key]
            for name, figures in methods.items()
            if name != TRIVIAL and figures.get(key) is not None
        }
        if OURS not in found:
            continue
        best = (max if more else min)(found, key=lambda name: found[name])
        ours, theirs = share(found[OURS]), share(found[best])
        if ours != theirs:
            yield [data, f"{learned:,}", shown, ours, theirs, METHODS[best].name]


def _judged(record: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Figures]]]:
    """The figures of each method after every number of rows learned that *record* has."""
    if few := record.get("few", {}).get("methods"):
        for points in zip(*(one["points"] for one in few.values()), strict=True):
            yield points[0]["labels"], dict(zip(few, points, strict=True))
    if quality := record.get("quality"):
        yield quality["train_rows"], quality["methods"]


def _unsure(record: Mapping[str, Any]) -> Iterator[list[str]]:
    quality = record.get("quality", {"differences": []})
    for one in quality["differences"]:
        for metric in one["best_by"]:
            drawn = one["merchants"][metric]
            if drawn["low"] <= 0 <= drawn["high"]:
                yield [
                    record["data"],
                    f"{quality['train_rows']:,}",
                    METRICS[metric],
                    METHODS[one["against"]].name,
                    f"{drawn['difference']:+.4f}",
                    f"{drawn['low']:+.4f} to {drawn['high']:+.4f}",
                ]
