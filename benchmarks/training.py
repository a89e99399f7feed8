"""Training beside LightGBM alone: how much all else of a run adds to growing its forests.

    make bench BENCH=training

Made-up rows with many categories. A run reads rows, fits the bases that propose, proposes for the
held-out blocks, grows two forests (one to calibrate, one to serve), checks and packs the model.
Bare is LightGBM's own fit of those two forests on the very matrices, once more.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import lightgbm

from benchmarks import report
from benchmarks.quality import synthetic
from shared.features import features_of
from worker import learner

SIZES = (20_000, 100_000)
CATEGORIES = 100
ROUNDS = 3


def main(argv: Sequence[str]) -> int:
    lines = []
    for size in SIZES:
        cases = synthetic.generate(size, CATEGORIES)
        rows = [features_of(txn) for txn in cases.txns]
        whole, bare = [], []
        for _ in range(ROUNDS):
            matrices: list[tuple[Any, Any, Any]] = []
            grow = learner._grow

            def noted(*told: Any, real: Any = grow, seen: Any = matrices) -> lightgbm.Booster:
                seen.append(told[:4])
                return real(*told)

            with patch.object(learner, "_grow", noted):
                started = time.perf_counter()
                learner.fit(rows, cases.labels).to_files()
                whole.append(time.perf_counter() - started)
            started = time.perf_counter()
            for told in matrices:
                grow(*told, 0, learner._silent, 0)
            bare.append(time.perf_counter() - started)
        total, alone = statistics.median(whole), statistics.median(bare)
        lines.append([f"{size:,}", f"{alone:.1f}", f"{total:.1f}", f"{total / alone:.2f} ×"])
    report.put(
        "training",
        report.conditions("make bench BENCH=training"),
        report.table(["rows learned", "LightGBM alone s", "the whole run s", "ratio"], lines),
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
