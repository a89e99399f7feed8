"""What learning costs as the rows grow: time, memory, the size of the artifact, its loading."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.quality.compare import Tell
from benchmarks.quality.cost import Runner, apart, measured
from benchmarks.quality.data import TRAIN_SHARE, Cases
from shared.features.extract import FeatureRow, features_of
from shared.model.classifier import Model
from worker.training import fit

LOADS = 5  # of which the median counts


def scaling(
    cases: Cases, sizes: Sequence[int | None], tell: Tell, run: Runner = apart
) -> dict[str, Any]:
    """The cost of learning the latest rows before the main cut day; None means all of them."""
    train = cases.part(0, cases.first_of_day(TRAIN_SHARE))
    started = time.perf_counter()
    rows = [features_of(txn) for txn in train.txns]
    feature_seconds = time.perf_counter() - started
    points = []
    for size in sorted({min(size or len(rows), len(rows)) for size in sizes}):
        labels = train.labels[-size:]
        found = run(learn, rows[-size:], labels)
        points.append({"rows": size, "labels": len(set(labels)), **found})
        tell(f"scale, {size:,} rows: {found['seconds']:.1f} s to learn")
    return {"features_us_a_row": 1e6 * feature_seconds / len(rows), "points": points}


def learn(rows: Sequence[FeatureRow], labels: Sequence[str]) -> dict[str, Any]:
    """Learn from stored features, as a training run does; what that took, and the artifact."""
    with measured() as cost:
        model = fit.fit(rows, labels, seed=0)
    files = model.to_files()
    loads = []
    for _ in range(LOADS):
        started = time.perf_counter()
        Model.from_files(files)
        loads.append(time.perf_counter() - started)
    return {
        **asdict(cost),
        "artifact_bytes": sum(map(len, files.values())),
        "load_ms": 1000 * statistics.median(loads),
    }
