"""Compares the speed of this tree with that of another revision, as ratios new/old.

    make bench-beside BASE=revision [BENCH=serving ARGS="--rounds 7 --seconds 3"]

The other revision is checked out in a temporary folder. Both trees are measured in turn, each time
in a new process, on data that each tree prepared once. A ratio is that of the medians of all
rounds; beside it stand the smallest and the largest ratio of one round. All figures are times, so
above 1 is slower. The exit code is 1 if a ratio is above LIMIT.

A process of one tree is `python -P beside.py PART prepare|measure FOLDER SECONDS`, run in that
tree: both are measured by the code of this file. It uses only names of the benchmarks package, and
finds them by their old names too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.03
ROUNDS = 5
SECONDS = 2.0  # of each series of requests
WARM_UP_S = 0.5
SINGLE_ROWS, BATCH_ROWS, CONNECTIONS = 300, 1_000, 32
TRAINING_ROWS = 20_000
Figures = dict[str, float]
Pairs = dict[str, list[tuple[float, float]]]  # of each figure (old, new), for each round


def main(argv: list[str]) -> int:
    options = argparse.ArgumentParser(prog="make bench-beside")
    options.add_argument("base", help="a git revision")
    options.add_argument("part", nargs="?", choices=["", *PARTS], default="")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--seconds", type=float, default=SECONDS)
    args = options.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the checkout is removed
    table, too_slow = [], []
    with checkout(args.base) as old:
        for part in [args.part] if args.part else PARTS:
            for figure, pairs in compare(part, old, args.rounds, args.seconds).items():
                before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
                ratio, rounds = after / before, sorted(new / base for base, new in pairs)
                spread = f"{rounds[0]:.2f} to {rounds[-1]:.2f}"
                name = f"{part}, {figure}"
                table.append([name, f"{before:,.2f}", f"{after:,.2f}", f"{ratio:.3f}", spread])
                if ratio > LIMIT:
                    too_slow.append(f"{name}: {ratio:.3f} × ({spread} in {len(rounds)} rounds)")
    report = import_module("benchmarks.report")
    print(report.conditions(f"make bench-beside BASE={args.base}"), end="\n\n")
    print(report.table(["figure", "old", "new", "new/old", "single rounds"], table))
    for line in too_slow:
        print(f"slower by more than {LIMIT - 1:.0%}: {line}")
    return bool(too_slow)


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A git worktree of *revision* with its compiled kernel, removed at the end."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "old"
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            compiler = tree / "shared" / "native" / "build.py"
            if not compiler.exists():
                compiler = tree / "local" / "kernel.py"
            subprocess.run([sys.executable, str(compiler)], check=True, cwd=tree)
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def compare(part: str, old: Path, rounds: int, seconds: float) -> Pairs:
    """Measure one part in both trees, in turn."""
    from local.servers.temporary import postgres

    pairs: Pairs = defaultdict(list)
    with ExitStack() as stack:
        run: dict[Path, Callable[[str], Figures]] = {}
        for tree in (old, ROOT):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = stack.enter_context(postgres()).url
            run[tree] = _process(tree, part, folder, url, seconds)
            run[tree]("prepare")
        for number in range(rounds):
            print(f"{part}, round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            order = (old, ROOT) if number % 2 == 0 else (ROOT, old)
            figures = {tree: run[tree]("measure") for tree in order}
            for name, value in figures[ROOT].items():
                pairs[name].append((figures[old][name], value))
    return pairs


def _process(
    tree: Path, part: str, folder: Path, url: str, seconds: float
) -> Callable[[str], Figures]:
    """A function that runs one step of a part in a new process of *tree*."""
    env = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "DATABASE_URL": url,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "ML_REGISTRY_DIR": str(folder / "registry"),
    }

    def run(step: str) -> Figures:
        command = [sys.executable, "-P", __file__, part, step, str(folder), str(seconds)]
        output = subprocess.check_output(command, cwd=tree, env=env)
        return dict(json.loads(output.splitlines()[-1]))

    return run


# The rest runs in a process of one of the trees.


def serving(step: str, folder: Path, seconds: float) -> Figures:
    """Our web server alone: one row a request, 32 connections, and 1,000 rows a request."""
    benchmark = import_module("benchmarks.serving.__main__")
    file = folder / "rows.json"
    if step == "prepare":
        file.write_text(json.dumps(_either(benchmark, "prepare", "prepared")(folder)))
        return {}
    rows, target = json.loads(file.read_text()), _our_server()
    single = [target.one(row) for row in rows[:SINGLE_ROWS]]
    batch = [target.many((rows * 2)[:BATCH_ROWS])]
    with import_module("benchmarks.serving.running").running(target, folder) as server:
        one = _request(server, single, 1, seconds)
        many = _request(server, single, CONNECTIONS, seconds)
        bulk = _request(server, batch, 1, seconds)
    return {
        "1 connection, p50 ms": one.p50_ms,
        "1 connection, CPU µs": one.cpu_us,
        f"{CONNECTIONS} connections, µs a request": 1e6 / many.per_s,
        f"{CONNECTIONS} connections, CPU µs": many.cpu_us,
        f"{BATCH_ROWS:,} rows, p50 ms": bulk.p50_ms,
        f"{BATCH_ROWS:,} rows, CPU ms": bulk.cpu_us / 1000,
    }


def suggest(step: str, folder: Path, seconds: float) -> Figures:
    """Suggestions for stored transactions, over HTTP."""
    calls = import_module("benchmarks.suggest.calls")
    env, file = {**os.environ, "API_TOKENS": f"admin:{calls.TOKEN}"}, folder / "ids.json"
    if step == "prepare":
        services = import_module("shared.services").build(calls.Settings.from_env(env))
        file.write_text(json.dumps(_either(calls, "fill", "_filled")(services)))
        services.close()
        return {}
    cases = _either(calls, "make_calls", "_calls")(json.loads(file.read_text()))
    figures, running = {}, import_module("benchmarks.serving.running").running
    names = ("DATABASE_URL", "REDIS_URL", "ML_REGISTRY_DIR", "API_TOKENS")
    server_env: dict[str, Any] = {name: env[name] for name in names}
    if "env" in running.__wrapped__.__annotations__:  # once, each variable was an argument
        server_env = {"env": server_env}
    with running(_our_server(), folder, **server_env) as server:
        for case in ("1", "1,000 of one user", f"1,000 of {calls.USERS} users"):
            requests = [calls.request_for(ids) for ids in cases[case]]
            seen = _request(server, requests, 1, seconds)
            figures[f"{case}, p50 ms"] = seen.p50_ms
            figures[f"{case}, CPU ms"] = seen.cpu_us / 1000
    return figures


def training(step: str, folder: Path, seconds: float) -> Figures:
    """A whole training run, from the tables to the stored version."""
    benchmark = import_module("benchmarks.training")
    engine = benchmark.make_engine(benchmark.Settings.from_env(os.environ).database_url)
    if step == "prepare":
        benchmark.migrate(engine)
        _either(benchmark, "fill", "_fill")(engine, folder / "statements.csv", TRAINING_ROWS)
        return {}
    registry = benchmark.Registry(folder / str(time.time_ns()))
    fields = {
        "job_id": "benchmark", "limit": None, "only_if_new": False, "min_labels": 1,
        "threshold_f1": 0.0,
    }  # fmt: skip

    def run() -> None:
        if hasattr(benchmark, "pipeline"):
            pipeline = benchmark.pipeline
            pipeline.run(engine, registry, pipeline.TrainRequest(**fields), benchmark.Phases())
        else:
            benchmark.train.run(engine, registry, progress=benchmark.Phases(), **fields)

    return _timed(f"{TRAINING_ROWS:,} rows", run)


def features(step: str, folder: Path, seconds: float) -> Figures:
    """The feature build of 125,000 transactions, and once more when nothing is new."""
    benchmark = import_module("benchmarks.features")
    engine = benchmark.make_engine(benchmark.Settings.from_env(os.environ).database_url)
    if step == "prepare":
        file = folder / "statements.csv"
        _either(import_module("benchmarks.__main__"), "write_statements", "_statements")(file)
        benchmark.migrate(engine)
        benchmark.import_csv(engine, file, options=benchmark.ImportOptions())
        return {}
    with engine.begin() as connection:
        connection.execute(benchmark.text("TRUNCATE ml_features"))
    build = _either(benchmark.feature_build, "build_pending", "refresh")
    figures = _timed("all rows", lambda: build(engine, benchmark.Scope()))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(benchmark.text("ANALYZE ml_features"))
    return figures | _timed("nothing new", lambda: build(engine, benchmark.Scope()))


PARTS: dict[str, Callable[[str, Path, float], Figures]] = {
    "serving": serving, "suggest": suggest, "training": training, "features": features,
}  # fmt: skip


def _either(module: Any, *names: str) -> Any:
    """The first of these names that the module has."""
    return next(getattr(module, name) for name in names if hasattr(module, name))


def _our_server() -> Any:
    targets = import_module("benchmarks.serving.targets")
    return next(target for target in targets.TARGETS if target.name == targets.OURS)


def _request(server: Any, requests: list[bytes], connections: int, seconds: float) -> Any:
    measure = _either(server, "measure", "asked")
    measure(requests, connections, min(seconds, WARM_UP_S))
    return measure(requests, connections, seconds)


def _timed(name: str, run: Callable[[], Any]) -> Figures:
    """Seconds of wall time, and of CPU time in this process."""
    began, cpu = time.perf_counter(), time.process_time()
    run()
    wall = time.perf_counter() - began
    return {f"{name}, s": wall, f"{name}, CPU s": time.process_time() - cpu}


if __name__ == "__main__":
    if sys.argv[1] in PARTS:
        _, chosen, asked_step, place, length = sys.argv
        print(json.dumps(PARTS[chosen](asked_step, Path(place), float(length))))
    else:
        raise SystemExit(main(sys.argv[1:]))
