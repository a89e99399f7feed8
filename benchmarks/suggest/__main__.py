"""Replays a labelled file as one user's life: each row is suggested, then labelled.

    python -m benchmarks.suggest labelled.csv

The user begins with some labels, those just before the replay. A wrong or missing suggestion is one
that they must correct: the work that is left to them. The model is trained anew on all of their
labels every RETRAIN transactions, as it would be each night.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.quality.data import Unusable, read
from benchmarks.suggest.replayed_user import HEADINGS, ReplayedUser, Shown, judge, table_row
from shared.features.extract import FeatureRow, features_of
from shared.model.classifier import Model, Prediction
from shared.model.thresholds import Thresholds
from shared.suggestions.decision import Evidence, decide
from worker.training import fit

START = 0.8  # share of the rows before the replay; the labels are the latest before that
LABELS = (0, 30, 300, 3_000)
ROWS = 1_000
RETRAIN = 100
MIN_LABELS = 20  # as ML_MIN_LABELS
MODES = ("all layers", "without the model", "merchant lookup")


def evidence(
    user: ReplayedUser, row: FeatureRow, prediction: Prediction | None, mode: str
) -> Evidence:
    """The evidence of the layers of *mode*."""
    history = user.history(row)
    if mode == "merchant lookup":
        return Evidence(history=history)
    start = user.profile.cold_start(row)
    return Evidence(history=history, prediction=prediction, cold_start=start)


def replay(
    rows: Sequence[FeatureRow], labels: Sequence[str], start: int, known: int, mode: str
) -> list[Shown]:
    """What was suggested for ROWS transactions from *start* on, and whether it was right."""
    user = ReplayedUser()
    for row, label in zip(rows[start - known : start], labels[start - known : start], strict=True):
        user.say(row, label)
    shown: list[Shown] = []
    end = min(start + ROWS, len(rows))
    for first in range(start, end, RETRAIN):
        last = min(first + RETRAIN, end)
        model: Model | None = None
        if mode == "all layers" and first - start + known >= MIN_LABELS:
            model = fit.fit(rows[start - known : first], labels[start - known : first])
        thresholds = model.thresholds if model else Thresholds()
        if mode == "merchant lookup":
            thresholds = Thresholds(memory=0.0)
        predictions = model.predict_many(rows[first:last]) if model else [None] * (last - first)
        for at, prediction in zip(range(first, last), predictions, strict=True):
            decision = decide(evidence(user, rows[at], prediction, mode), thresholds)
            found = judge(decision, labels[at])
            shown.append(found)
            user.say(rows[at], labels[at], found)
    return shown


def curve(shown: Sequence[Shown]) -> str:
    """How much is right of the surest tenth, quarter, and so on; where it asks, its best guess."""
    ranked = sorted(shown, key=lambda it: -it.decision.confidence)
    hits = [it.right or it.offered for it in ranked]
    points = []
    for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        part = hits[: max(1, round(share * len(hits)))]
        points.append(f"{share:.0%}: {sum(part) / len(part):.1%}")
    return ", ".join(points)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--labels", default=",".join(map(str, LABELS)), help="to begin with")
    options = parser.parse_args()
    try:
        cases = read(options.csv)
    except Unusable as problem:
        parser.error(str(problem))
    rows = [features_of(txn) for txn in cases.txns]
    start = cases.first_of_day(START)
    print(f"{options.csv.name}: from {cases.days[start]} on, up to {ROWS:,} transactions\n")
    table, curves = [], []
    for known in map(int, options.labels.split(",")):
        if known > start:
            continue
        for mode in MODES:
            began = time.perf_counter()
            shown = replay(rows, cases.labels, start, known, mode)
            table.append([f"{known:,} labels", mode, *table_row(shown)])
            if mode == MODES[0]:
                points = curve(shown)
                curves.append(f"{known:,} labels, {time.perf_counter() - began:.0f} s: {points}")
    print(report.table(["known", "layers", *HEADINGS], table))
    print("\nRight of the surest, all layers:", *curves, sep="\n- ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
