"""How fast a trained model answers: one transaction by phase, then many.

    OMP_NUM_THREADS=1 python -m benchmarks.predict

The model learns the older part of the sample statements and answers the later. Medians: of one
transaction the thread's CPU time, of many the time on the clock.
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections import defaultdict

from local import sample
from shared.candidates import inputs_of
from shared.features import RawTransaction, features_of
from shared.model import THREADS, Model
from worker import learner

TRAIN_SHARE = 0.8
BULK_ROWS = 10_000
ROUNDS = 5


def main() -> None:
    statements = sorted(sample.generate(dt.date(2026, 1, 1)), key=lambda row: row.date)
    raw = [
        RawTransaction(
            merchant=row.merchant,
            description=row.description or None,
            amount=-row.amount,
            date=row.date,
        )
        for row in statements
    ]
    cut = int(len(raw) * TRAIN_SHARE)
    learned = [(raw[at], row.label) for at, row in enumerate(statements[:cut]) if row.label]
    model = learner.fit([features_of(txn) for txn, _ in learned], [name for _, name in learned])
    print(f"{len(learned):,} rows learned, {len(model.labels)} categories")
    _one(model, raw[cut:])
    _many(model, raw)


def _one(model: Model, later: list[RawTransaction]) -> None:
    """Each transaction for the first time, as it comes in; then the whole of it again."""
    spent: defaultdict[str, list[int]] = defaultdict(list)
    clock = time.thread_time_ns
    for txn in later:
        marks = [clock()]
        row = features_of(txn)
        marks.append(clock())
        inputs = inputs_of([row], model.hash_key)
        marks.append(clock())
        proposal = model.base.propose(inputs)
        marks.append(clock())
        model.odds(proposal)
        marks.append(clock())
        model.predict(features_of(txn))
        marks.append(clock())
        phases = ("features", "inputs", "propose", "odds", "all, texts known")
        for phase, start, end in zip(phases, marks, marks[1:], strict=False):
            spent[phase].append(end - start)
    for phase, times in spent.items():
        print(f"{phase:18} {statistics.median(times) / 1000:8.1f} µs")


def _many(model: Model, raw: list[RawTransaction]) -> None:
    rows = [features_of(txn) for txn in raw]
    rows = (rows * (BULK_ROWS // len(rows) + 1))[:BULK_ROWS]
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        model.predict_many(rows)
        seconds.append(time.perf_counter() - started)
    rate = BULK_ROWS / statistics.median(seconds)
    print(f"{BULK_ROWS:,} at once {rate:10,.0f} rows/s on {THREADS} threads")


if __name__ == "__main__":
    main()
