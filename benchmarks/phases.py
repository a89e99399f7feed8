"""Time of a prediction: one transaction phase by phase, then many at once.

    make bench BENCH=phases

A model is trained on the older part of the sample statements and predicts the later part. Figures
are medians: the thread's CPU time for one transaction, wall time for many. "New text" is a
merchant text that this process has not seen before.
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence

import lightgbm
import numpy as np
from pydantic_core import to_json

from benchmarks import report
from local.demo import sample
from shared.features import encoder, extract, taxonomy
from shared.features.extract import RawTransaction, features_of
from shared.model import label_history
from shared.model.candidates import encode_rows
from shared.model.classifier import THREADS, Model, Ranking
from shared.native.quickscorer import QuickScorer
from shared.text import normalize
from web.predictions.views import PREDICT
from worker.training import fit, fit_reranker

TRAIN_SHARE = 0.8
BULK_ROWS = 10_000
ROUNDS = 5
COMPARED_ROWS = 10_000


def main(argv: Sequence[str]) -> int:
    statements = sorted(sample.generate(dt.date(2026, 1, 1)), key=lambda row: row.date)
    cut = int(len(statements) * TRAIN_SHARE)
    training = [row for row in statements[:cut] if row.label]
    rows = [features_of(_raw(row)) for row in training]
    model = fit.fit(rows, [row.label for row in training])
    later = statements[cut:]
    report.publish(
        "phases",
        report.conditions("make bench BENCH=phases"),
        f"{len(training):,} rows learned, {len(model.labels)} categories.",
        _single(model, later),
        _difference(model, later),
        _batch(model, later),
    )
    return 0


def _raw(row: sample.Row) -> RawTransaction:
    return RawTransaction(merchant=row.merchant, amount=float(-row.amount), date=row.date)


def _body(row: sample.Row) -> bytes:
    amount, date = float(-row.amount), row.date.isoformat()
    return json.dumps({"merchant": row.merchant, "amount": amount, "date": date}).encode()


def _single(model: Model, later: list[sample.Row]) -> str:
    bodies = list(map(_body, later))
    seen = _phases(model, bodies * 2)
    new: defaultdict[str, list[int]] = defaultdict(list)
    for body in bodies:
        _clear_caches()
        for phase, times in _phases(model, [body]).items():
            new[phase] += times
    rows = [
        [phase, *(f"{statistics.median(times[phase]) / 1000:.0f}" for times in (seen, new))]
        for phase in seen
    ]
    total = [
        sum(statistics.median(times) for times in by_phase.values()) / 1000
        for by_phase in (seen, new)
    ]
    return report.table(
        ["phase", "CPU µs, text seen before", "CPU µs, new text"],
        [*rows, ["all of it", *(f"{microseconds:.0f}" for microseconds in total)]],
    )


def _phases(model: Model, bodies: Sequence[bytes]) -> dict[str, list[int]]:
    """Nanoseconds of each phase of each body."""
    spent: defaultdict[str, list[int]] = defaultdict(list)
    clock = time.thread_time_ns
    for body in bodies:
        marks = [clock()]
        raw = RawTransaction(**PREDICT.validate_json(body).__dict__)
        marks.append(clock())
        row = features_of(raw)
        marks.append(clock())
        inputs = encode_rows([row], model.hash_key)
        marks.append(clock())
        candidates = model.generator.generate(inputs)
        marks.append(clock())
        odds = model.log_odds(candidates)
        marks.append(clock())
        shares = model.calibration.shares(candidates, odds)
        (prediction,) = model.answers(inputs, Ranking(candidates, odds, shares))
        marks.append(clock())
        fields = {
            "label": prediction.label,
            "confidence": prediction.confidence,
            "alternatives": [each._asdict() for each in prediction.alternatives],
        }
        to_json(fields)
        marks.append(clock())
        phases = (
            "validation", "features", "model: hashes", "model: candidates", "model: reranker",
            "model: calibration", "serialisation",
        )  # fmt: skip
        for phase, start, end in zip(phases, marks, marks[1:], strict=False):
            spent[phase].append(end - start)
    return spent


def _clear_caches() -> None:
    """Clear the caches of texts."""
    for module in (normalize, encoder, extract, label_history, taxonomy):
        for function in vars(module).values():
            if hasattr(function, "cache_clear") and function.cache_info().maxsize != 1:
                function.cache_clear()


def _difference(model: Model, later: list[sample.Row]) -> str:
    """The largest difference between our QuickScorer and LightGBM, on real candidates."""
    rows = [features_of(_raw(row)) for row in later]
    rows = (rows * (COMPARED_ROWS // len(rows) + 1))[:COMPARED_ROWS]
    pairs = model.generator.generate(encode_rows(rows, model.hash_key)).features
    pairs = np.ascontiguousarray(pairs.reshape(-1, pairs.shape[2]))
    booster = lightgbm.Booster(model_str=model.booster_text)
    expected = booster.predict(pairs, raw_score=True, num_threads=1)
    different = np.abs(QuickScorer(model.booster_text).scores(pairs, 6) - expected).max()
    return (
        f"QuickScorer and `Booster.predict` on the {len(pairs):,} candidates of "
        f"{COMPARED_ROWS:,} rows: largest difference {different:g}. The same is checked on "
        f"the candidates of {fit_reranker.SELF_TEST_ROWS:,} rows whenever a model is made."
    )


def _batch(model: Model, later: list[sample.Row]) -> str:
    rows = [features_of(_raw(row)) for row in later]
    rows = (rows * (BULK_ROWS // len(rows) + 1))[:BULK_ROWS]
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        model.predict_many(rows)
        seconds.append(time.perf_counter() - started)
    rate = BULK_ROWS / statistics.median(seconds)
    return f"{BULK_ROWS:,} rows at once: {rate:,.0f} a second on {THREADS} threads."


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
