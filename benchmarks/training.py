"""A training run beside LightGBM alone: what all else of it adds to growing the forests.

    make bench BENCH=training [ARGS="--rows 20000 --rounds 1"]

Made-up labelled rows with many categories, imported into a PostgreSQL of the benchmark's own, their
features built. The whole run is `worker.training.pipeline.run`, as a training job does it: read the
rows, fit the bases that propose, propose for the held-out blocks, grow two forests (one to
calibrate, one to serve) and beside them refit the base on all rows, judge the model and its
baselines, count the reference for drift, pack and store the version. Alone is LightGBM's own fit of
those two forests on the very matrices, one after the other, once more. A second core shortens the
wall; CPU seconds tell what is done.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from sqlalchemy import Engine

from benchmarks import report
from benchmarks.quality import synthetic
from local.servers.temporary import postgres
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.registry.store import Registry
from shared.settings import Settings
from shared.statements.schema import ImportOptions
from worker.features import build as feature_build
from worker.statements.importer import import_csv
from worker.training import fit, pipeline

SIZES = (20_000, 100_000)
CATEGORIES = 100
ROUNDS = 3
AIM = 1.5


class Cost(NamedTuple):
    """Seconds on the clock, and of all cores."""

    wall: float
    cpu: float


class Stopwatch:
    """Since when, on the clock and in CPU time of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        return Cost(time.perf_counter() - self._wall, time.process_time() - self._cpu)


class Phases:
    """The seconds of each phase of a run: from each of its words to the next word."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self._current, self._since = "", time.perf_counter()

    def __call__(self, phase: str, done: int = 0, total: int = 0) -> None:
        now = time.perf_counter()
        if self._current:
            self.wall[self._current] += now - self._since
        self._current, self._since = phase, now


class Round(NamedTuple):
    """One run of one size, and the forests of it alone."""

    whole: Cost
    alone: Cost
    phases: dict[str, float]


def main(argv: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks training")
    options.add_argument("--rows", type=lambda it: [int(n) for n in it.split(",")], default=SIZES)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = options.parse_args(argv)
    lines, by_phase = [], {}
    for size in wanted.rows:
        rounds = _measured(size, wanted.rounds)
        whole, alone = (_median([it[place] for it in rounds]) for place in (0, 1))
        ratio = whole.wall / alone.wall
        report.aimed(f"training on {size:,}, wall beside LightGBM alone", ratio, at_most=AIM)
        lines.append(
            [
                f"{size:,}", f"{alone.wall:.1f} / {alone.cpu:.1f}",
                f"{whole.wall:.1f} / {whole.cpu:.1f}", f"{ratio:.2f} ×",
                f"{whole.cpu / alone.cpu:.2f} ×",
            ]
        )  # fmt: skip
        by_phase[size] = {
            phase: statistics.median(it.phases[phase] for it in rounds)
            for phase in rounds[0].phases
        }
    phases = next(iter(by_phase.values()))
    report.put(
        "training",
        report.conditions("make bench BENCH=training"),
        report.table(
            [
                "labelled rows", "LightGBM alone: wall / CPU s", "the whole run: wall / CPU s",
                "wall", "CPU",
            ],
            lines,
        ),
        report.table(
            ["phase of the run, wall s", *(f"{size:,} rows" for size in by_phase)],
            [[phase, *(f"{it[phase]:.1f}" for it in by_phase.values())] for phase in phases],
        ),
    )  # fmt: skip
    return 0


def _measured(size: int, rounds: int) -> list[Round]:
    with postgres() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {"DATABASE_URL": server.url, "REDIS_URL": "redis://unused"}
        engine = make_engine(Settings.from_env(env).database_url)
        try:
            migrate(engine)
            _fill(engine, folder / "statements.csv", size)
            return [_round(engine, Registry(folder / str(number))) for number in range(rounds)]
        finally:
            engine.dispose()


def _fill(engine: Engine, file: Path, size: int) -> None:
    cases = synthetic.generate(size, CATEGORIES)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(
            ["txn_id", "date", "amount", "currency", "merchant", "description", "label"]
        )
        for number, (txn, label) in enumerate(zip(cases.txns, cases.labels, strict=True)):
            writer.writerow(
                [number, txn.date, txn.amount, txn.currency, txn.merchant, txn.description, label]
            )
    import_csv(engine, file, options=ImportOptions())
    feature_build.build_pending(engine, feature_build.Scope())


def _round(engine: Engine, registry: Registry) -> Round:
    grown: list[tuple[Any, ...]] = []
    grow = fit._grow

    def noted(*told: Any) -> Any:
        grown.append(told)
        return grow(*told)

    request = pipeline.TrainRequest(
        job_id="benchmark", limit=None, only_if_new=False, min_labels=1, threshold_f1=0.0
    )
    phases, watch = Phases(), Stopwatch()
    with patch.object(fit, "_grow", noted):
        pipeline.run(engine, registry, request, phases)
    whole = watch.read()
    phases("end")
    spent = dict(phases.wall)
    watch = Stopwatch()
    for told in grown:
        grow(*told)
    return Round(whole, watch.read(), spent)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost._make(map(statistics.median, zip(*costs, strict=True)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
