"""Where the time of a prediction goes: one transaction by phase, then many at once.

    make bench BENCH=phases

The model learns the older part of the sample statements and answers the later. Medians: of one
transaction the thread's CPU time, each phase as it follows the one before; of many the time on the
clock. "New text" is a merchant line that this process has not read before.
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
from shared.model.classifier import THREADS, Model
from shared.native.quickscorer import QuickScorer
from shared.text import normalize
from web.predictions.views import PREDICT
from worker.training import fit

TRAIN_SHARE = 0.8
BULK_ROWS = 10_000
ROUNDS = 5
LINES = 10_000


def main(argv: Sequence[str]) -> int:
    statements = sorted(sample.generate(dt.date(2026, 1, 1)), key=lambda row: row.date)
    cut = int(len(statements) * TRAIN_SHARE)
    learned = [row for row in statements[:cut] if row.label]
    rows = [features_of(_raw(row)) for row in learned]
    model = fit.fit(rows, [row.label for row in learned])
    later = statements[cut:]
    report.put(
        "phases",
        report.conditions("make bench BENCH=phases"),
        f"{len(learned):,} rows learned, {len(model.labels)} categories.",
        _one(model, later),
        _agreement(model, later),
        _many(model, later),
    )
    return 0


def _raw(row: sample.Row) -> RawTransaction:
    return RawTransaction(merchant=row.merchant, amount=float(-row.amount), date=row.date)


def _body(row: sample.Row) -> bytes:
    amount, date = float(-row.amount), row.date.isoformat()
    return json.dumps({"merchant": row.merchant, "amount": amount, "date": date}).encode()


def _one(model: Model, later: list[sample.Row]) -> str:
    bodies = list(map(_body, later))
    known = _phases(model, bodies * 2)
    new: defaultdict[str, list[int]] = defaultdict(list)
    for body in bodies:
        _forget_texts()
        for phase, times in _phases(model, [body]).items():
            new[phase] += times
    rows = [
        [phase, *(f"{statistics.median(it[phase]) / 1000:.0f}" for it in (known, new))]
        for phase in known
    ]
    total = [sum(statistics.median(times) for times in it.values()) / 1000 for it in (known, new)]
    return report.table(
        ["phase", "CPU µs, text seen before", "CPU µs, new text"],
        [*rows, ["all of it", *(f"{it:.0f}" for it in total)]],
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
        proposal = model.generator.generate(inputs)
        marks.append(clock())
        odds = model.log_odds(proposal)
        marks.append(clock())
        (answer,) = model.answers(proposal, model.calibration.shares(proposal, odds))
        marks.append(clock())
        told = {
            "label": answer.label,
            "confidence": answer.confidence,
            "alternatives": [it._asdict() for it in answer.alternatives],
        }
        to_json(told)
        marks.append(clock())
        phases = (
            "validation", "features", "model: hashes", "model: candidates", "model: forest",
            "model: calibration", "serialisation",
        )  # fmt: skip
        for phase, start, end in zip(phases, marks, marks[1:], strict=False):
            spent[phase].append(end - start)
    return spent


def _forget_texts() -> None:
    """What is kept of texts that were read."""
    for module in (normalize, encoder, extract, label_history, taxonomy):
        for held in vars(module).values():
            if hasattr(held, "cache_clear") and held.cache_info().maxsize != 1:
                held.cache_clear()


def _agreement(model: Model, later: list[sample.Row]) -> str:
    """The compiled forest beside LightGBM's own package, on lines as they come."""
    rows = [features_of(_raw(row)) for row in later]
    rows = (rows * (LINES // len(rows) + 1))[:LINES]
    lines = model.generator.generate(encode_rows(rows, model.hash_key)).features
    lines = np.ascontiguousarray(lines.reshape(-1, lines.shape[2]))
    booster = lightgbm.Booster(model_str=model.booster_text)
    expected = booster.predict(lines, raw_score=True, num_threads=1)
    different = np.abs(QuickScorer(model.booster_text).raw_scores(lines, 6) - expected).max()
    return (
        f"The compiled forest and `Booster.predict` on the {len(lines):,} lines of {LINES:,} rows: "
        f"largest difference {different:g}. The same is checked on the candidates of "
        f"{fit.SELF_TEST_ROWS:,} rows whenever a model is made."
    )


def _many(model: Model, later: list[sample.Row]) -> str:
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
