"""How good the methods are after few labels: the learning curve, averaged over three windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality import measure
from benchmarks.quality.compare import Tell
from benchmarks.quality.cost import Runner, apart
from benchmarks.quality.data import (
    MIN_ROWS,
    TRAIN_SHARE,
    BoolArray,
    Cases,
    frequent,
    seen,
)
from benchmarks.quality.methods import METHODS, fitted
from benchmarks.quality.simple import Answers

CUTS = (0.6, 0.75, TRAIN_SHARE)  # shares of the rows; none looks past the main table's training
TEST_ROWS = 10_000
TEST_SHARE = 0.2
FIGURES = ("accuracy", "f1_macro", "accuracy_unseen", "calibration_error")


class Window(NamedTuple):
    """The rows just before a cut, and those just after it that are scored."""

    size: int
    train: Cases
    test: Cases
    seen: BoolArray


def learning_curve(
    cases: Cases, sizes: Sequence[int], keys: Sequence[str], tell: Tell, run: Runner = apart
) -> dict[str, Any]:
    """FIGURES of each method of *keys* at each of *sizes*, JSON-able.

    Scored are the labels with MIN_ROWS rows before the main table's cut day, at every size. A size
    that no window has rows for is in `left_out`.
    """
    labels = frequent(cases.labels[: cases.first_of_day(TRAIN_SHARE)])
    windows = [window for size in sizes for window in _windows(cases, size, labels)]
    methods = {}
    for key in keys if windows else ():
        answers: list[Answers] = run(learn_each, key, windows)
        figures = [
            measure.figures(window.test.labels, answer, window.seen)
            for window, answer in zip(windows, answers, strict=True)
        ]
        points = []
        for size in dict.fromkeys(window.size for window in windows):
            of_size = [
                one for window, one in zip(windows, figures, strict=True) if window.size == size
            ]
            means = {name: _mean([one[name] for one in of_size]) for name in FIGURES}
            rows = sum(one["rows"] for one in of_size)
            points.append({"labels": size, "windows": len(of_size), "rows": rows, **means})
        methods[key] = {"name": METHODS[key].name, "points": points}
        tell(f"few labels, {METHODS[key].name}: {len(windows)} models")
    return {
        "cuts": list(CUTS),
        "test_rows_at_most": min(TEST_ROWS, int(len(cases) * TEST_SHARE)),
        "scored": f"labels with {MIN_ROWS} rows or more before the main cut day",
        "scored_labels": len(labels),
        "left_out": [size for size in sizes if all(size != window.size for window in windows)],
        "methods": methods,
    }


def learn_each(key: str, windows: Sequence[Window]) -> list[Answers]:
    """What the method says of each window's test rows, having learned that window only."""
    return [
        fitted(key, window.train.txns, window.train.labels, few=True).answer(window.test.txns)
        for window in windows
    ]


def _windows(cases: Cases, size: int, labels: set[str]) -> list[Window]:
    """One for each cut that has *size* rows before it and a scored one after it."""
    windows = []
    length = min(TEST_ROWS, int(len(cases) * TEST_SHARE))
    for share in CUTS:
        cut = cases.first_of_day(share)
        train, after = cases.part(max(cut - size, 0), cut), cases.part(cut, cut + length)
        test = after.take(place for place, label in enumerate(after.labels) if label in labels)
        if len(train) == size and len(test):
            windows.append(Window(size, train, test, seen(train, test)))
    return windows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
