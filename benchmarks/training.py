"""Time of a whole training run beside that of LightGBM alone.

    make bench BENCH=training [ARGS="--rows 20000 --rounds 1"]

Made-up labelled rows with many categories are imported into a temporary PostgreSQL, and their
features built. The whole run is `worker.training.pipeline.run`, as a training job does it: read the
rows, fit the candidate generators, generate candidates for the held-out blocks, fit two rerankers
(one for calibration, one to serve) and beside them the generator on all rows, evaluate the model
and its baselines, count the reference profile for drift, store the version. LightGBM alone fits the
same two rerankers on the same matrices again, one after the other. A second core shortens the wall
time; CPU seconds show the work.
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
from worker.training import fit_reranker, pipeline

SIZES = (20_000, 100_000)
CATEGORIES = 100
ROUNDS = 3
AIM = 1.5


class Cost(NamedTuple):
    """Seconds of wall time, and of CPU time on all cores."""

    wall: float
    cpu: float


class Stopwatch:
    """Wall and CPU time of this process since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        return Cost(time.perf_counter() - self._wall, time.process_time() - self._cpu)


class Phases:
    """A progress callback that sums the seconds of each phase."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self._current, self._since = "", time.perf_counter()

    def __call__(self, phase: str, done: int = 0, total: int = 0) -> None:
        now = time.perf_counter()
        if self._current:
            self.wall[self._current] += now - self._since
        self._current, self._since = phase, now


class Round(NamedTuple):
    """One training run, and LightGBM's fit of its rerankers alone."""

    whole: Cost
    alone: Cost
    phases: dict[str, float]


def main(argv: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks training")
    options.add_argument(
        "--rows", type=lambda text: [int(size) for size in text.split(",")], default=SIZES
    )
    options.add_argument("--rounds", type=int, default=ROUNDS)
    args = options.parse_args(argv)
    table, by_phase = [], {}
    for size in args.rows:
        rounds = _measure(size, args.rounds)
        whole = _median([each.whole for each in rounds])
        alone = _median([each.alone for each in rounds])
        ratio = whole.wall / alone.wall
        report.check_aim(f"training on {size:,}, wall beside LightGBM alone", ratio, at_most=AIM)
        table.append(
            [
                f"{size:,}", f"{alone.wall:.1f} / {alone.cpu:.1f}",
                f"{whole.wall:.1f} / {whole.cpu:.1f}", f"{ratio:.2f} ×",
                f"{whole.cpu / alone.cpu:.2f} ×",
            ]
        )  # fmt: skip
        by_phase[size] = {
            phase: statistics.median(each.phases[phase] for each in rounds)
            for phase in rounds[0].phases
        }
    phases = next(iter(by_phase.values()))
    report.publish(
        "training",
        report.conditions("make bench BENCH=training"),
        report.table(
            [
                "labelled rows", "LightGBM alone: wall / CPU s", "the whole run: wall / CPU s",
                "wall", "CPU",
            ],
            table,
        ),
        report.table(
            ["phase of the run, wall s", *(f"{size:,} rows" for size in by_phase)],
            [[phase, *(f"{each[phase]:.1f}" for each in by_phase.values())] for phase in phases],
        ),
    )  # fmt: skip
    return 0


def _measure(size: int, rounds: int) -> list[Round]:
    with postgres() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {"DATABASE_URL": server.url, "REDIS_URL": "redis://unused"}
        engine = make_engine(Settings.from_env(env).database_url)
        try:
            migrate(engine)
            fill(engine, folder / "statements.csv", size)
            return [_run_once(engine, Registry(folder / str(number))) for number in range(rounds)]
        finally:
            engine.dispose()


def fill(engine: Engine, file: Path, size: int) -> None:
    """Import *size* labelled rows and build their features."""
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


def _run_once(engine: Engine, registry: Registry) -> Round:
    calls: list[tuple[Any, ...]] = []
    grow = fit_reranker._grow

    def record(*args: Any) -> Any:
        calls.append(args)
        return grow(*args)

    request = pipeline.TrainRequest(
        job_id="benchmark", limit=None, only_if_new=False, min_labels=1, threshold_f1=0.0
    )
    phases, watch = Phases(), Stopwatch()
    with patch.object(fit_reranker, "_grow", record):
        pipeline.run(engine, registry, request, phases)
    whole = watch.read()
    phases("end")
    spent = dict(phases.wall)
    watch = Stopwatch()
    for args in calls:
        grow(*args)
    return Round(whole, watch.read(), spent)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost._make(map(statistics.median, zip(*costs, strict=True)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
