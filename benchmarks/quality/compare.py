"""The main table: every method learns the same rows and is judged on the same others.

What each said of every row is kept, as the place of its label among the sorted ones that were
learned: so methods measured at different times can be compared row by row (merge.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from benchmarks.quality import measure
from benchmarks.quality.cost import Cost, Runner, apart, measured
from benchmarks.quality.data import MIN_ROWS, Cases, Split
from benchmarks.quality.methods import METHODS, OURS, fitted
from benchmarks.quality.simple import Answers, Txns

Tell = Callable[[str], None]


class Run(NamedTuple):
    """One method's answers, and what they took."""

    answers: Answers
    fit: Cost
    predict_seconds: float


def compare(
    data: Split,
    keys: Sequence[str],
    tell: Tell,
    *,
    resamples: int = measure.RESAMPLES,
    run: Runner = apart,
) -> dict[str, Any]:
    """The figures of each method of *keys*, JSON-able, and how ours differs from the best other."""
    truth = [
        label for label, is_scored in zip(data.test.labels, data.scored, strict=True) if is_scored
    ]
    merchants = [
        txn.merchant
        for txn, is_scored in zip(data.test.txns, data.scored, strict=True)
        if is_scored
    ]
    seen = data.seen[data.scored]
    place = {label: index for index, label in enumerate(sorted(set(data.train.labels)))}
    unit = {merchant: index for index, merchant in enumerate(dict.fromkeys(merchants))}
    methods: dict[str, dict[str, Any]] = {}
    for key in keys:
        found: Run = run(learn_and_answer, key, data.train, data.test.txns)
        answers = measure.chosen(found.answers, data.scored)
        methods[key] = {
            "name": METHODS[key].name,
            **measure.figures(truth, answers, seen),
            **measure.curves(truth, answers),
            "by_user_rows": None
            if data.user_rows is None
            else measure.accuracy_by_user_rows(truth, answers, data.user_rows[data.scored]),
            "wide": measure.figures(data.test.labels, found.answers, data.seen),
            "fit": asdict(found.fit),
            "predict_rows_s": len(data.test) / found.predict_seconds,
            "said": [place[label] for label in answers.labels],
        }
        tell(f"{METHODS[key].name}: {found.fit.seconds:.1f} s to learn")
    quality = {
        "cut_day": data.cut_day.isoformat(),
        "whole_train_rows": data.whole_train_rows,
        "train_rows": len(data.train),
        "test_rows": data.test_rows,
        "scored_rows": len(truth),
        "scored_labels": len(set(truth)),
        "wide_rows": len(data.test),
        "wide_labels": len(set(data.test.labels)),
        "unseen_rows": int((~seen).sum()),
        "scored": f"labels with {MIN_ROWS} rows or more in the training rows used",
        "truth": [place[label] for label in truth],
        "merchants": [unit[merchant] for merchant in merchants],
        "methods": methods,
    }
    return {**quality, "differences": differences(quality, resamples)}


def differences(quality: Mapping[str, Any], resamples: int) -> list[dict[str, Any]]:
    """How ours differs from the best others, from what each said of the rows of *quality*."""
    truth, methods = quality["truth"], quality["methods"]
    found = []
    for rival, metrics in _rivals(methods).items():
        predictions = methods[OURS]["said"], methods[rival]["said"]
        found.append(
            {
                "against": rival,
                "best_by": metrics,
                "resamples": resamples,
                "rows": measure.bootstrap(
                    truth, *predictions, range(len(truth)), resamples=resamples
                ),
                "merchants": measure.bootstrap(
                    truth, *predictions, quality["merchants"], resamples=resamples
                ),
            }
        )
    return found


def learn_and_answer(key: str, train: Cases, txns: Txns) -> Run:
    """Have the method learn *train* and answer *txns*; both start from raw transactions."""
    with measured() as cost:
        method = fitted(key, train.txns, train.labels)
    started = time.perf_counter()
    answers = method.answer(txns)
    return Run(answers, cost, max(time.perf_counter() - started, 1e-9))


def _rivals(methods: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """The best other method by accuracy and the best by macro-F1, often one and the same."""
    others = [key for key in methods if key != OURS]
    rivals: dict[str, list[str]] = {}
    if OURS in methods and others:
        for metric in ("accuracy", "f1_macro"):
            best = max(others, key=lambda key: methods[key][metric])
            rivals.setdefault(best, []).append(metric)
    return rivals
