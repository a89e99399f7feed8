"""Cost of a prediction over HTTP: our web process beside floors and other model servers.

    make bench BENCH=serving [ARGS="--seconds 2 --rounds 5 --deploys 24 --starts 5"]

Each server is one process on one core; the clients have the other core. Servers take turns, and the
median of the rounds counts. All get the same few hundred transactions, one after the other. CPU is
user and system time of the server's processes for each request: on a busy machine the steadiest
figure. A peer that cannot be installed is left out, and named.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import joblib

from benchmarks import report
from benchmarks.serving import deploys, plain
from benchmarks.serving.environments import NotInstalled, versions_of
from benchmarks.serving.running import Measurement, Server, busy_neighbours, running
from benchmarks.serving.targets import BARE, EMPTY, OURS, PIPELINE, TARGETS, Row
from local.demo import sample
from shared.features.extract import RawTransaction, features_of
from shared.registry.store import Registry
from worker.training import fit

SINGLE_ROWS = 300
BATCH_ROWS = 1_000
CONNECTIONS = 32
TRAIN_SHARE = 0.8
NEIGHBOURS = 2
ONE, MANY, BULK, BUSY = "1 connection", f"{CONNECTIONS} connections", f"{BATCH_ROWS:,} rows", "busy"
Cases = dict[tuple[str, str], Measurement]


def main(argv: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks serving")
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--deploys", type=int, default=deploys.DEPLOYS)
    options.add_argument("--starts", type=int, default=deploys.STARTS)
    args = options.parse_args(argv)
    missing = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        later = prepare(folder)
        servers = []
        for target in TARGETS:
            try:
                servers.append(stack.enter_context(running(target, folder)))
            except NotInstalled as error:
                missing.append(f"{target.name} is not among them: {error}")
        results = _compare(servers, later, args.seconds, args.rounds)
        memory = {server.target.name: server.memory_mb() for server in servers}
        stack.close()
        measured = report.conditions("make bench BENCH=serving")
        parts = [_servers(servers, results, memory), *missing, _ratios(servers, results)]
        swap = deploys.under_load(folder, later[:SINGLE_ROWS], args.deploys)
        after_swap = report.conditions("make bench BENCH=serving")
        start = deploys.start_and_memory(folder, later[:SINGLE_ROWS], args.starts)
    report.publish(
        "serving",
        measured,
        f"{versions_of('bentoml')}, {versions_of('mlflow')}, {versions_of('mlserver')}.",
        *parts,
    )
    report.publish("deploys", after_swap, swap)
    report.publish("start", report.conditions("make bench BENCH=serving"), start)
    return 0


def prepare(folder: Path) -> list[Row]:
    """Train the models: two versions in a registry, one of them live, and the peers' in a file.

    Returns:
        The rows to send to all servers: those after the training rows.
    """
    statements = sorted(sample.generate(dt.date(2026, 1, 1)), key=lambda row: row.date)
    cut = int(len(statements) * TRAIN_SHARE)
    training = [row for row in statements[:cut] if row.label]
    labels = [row.label for row in training]
    raw = [
        RawTransaction(merchant=row.merchant, description=None, amount=-row.amount, date=row.date)
        for row in training
    ]
    registry = Registry(folder / "registry")
    for seed in (1, 0):
        model = fit.fit([features_of(txn) for txn in raw], labels, seed=seed)
        meta = {
            "val_f1_macro": 0.0,
            "val_accuracy": 0.0,
            "gate": {"passed": True, "reason": "for a benchmark"},
            "trained_through": f"{training[-1].date}T00:00:00+00:00",
        }
        version = registry.save(model.to_files(), meta)
        registry.deploy(version.run_id, by="benchmark", why="a benchmark")
    joblib.dump(plain.train(list(map(_as_json, training)), labels), folder / PIPELINE)
    print(f"{len(training):,} training rows, {len(model.labels)} categories", flush=True)
    return list(map(_as_json, statements[cut:]))


def _as_json(row: sample.Row) -> Row:
    amount, date = float(-row.amount), row.date.isoformat()
    return {"merchant": row.merchant, "amount": amount, "date": date}


def _compare(servers: list[Server], later: list[Row], seconds: float, rounds: int) -> Cases:
    results: defaultdict[tuple[str, str], list[Measurement]] = defaultdict(list)
    rows = (later * 2)[:BATCH_ROWS]
    for _ in range(rounds):
        for server in servers:
            name, target = server.target.name, server.target
            single = [target.one(row) for row in later[:SINGLE_ROWS]]
            results[name, ONE].append(server.measure(single, 1, seconds))
            results[name, MANY].append(server.measure(single, CONNECTIONS, seconds))
            if target.many:
                results[name, BULK].append(server.measure([target.many(rows)], 1, seconds))
    with busy_neighbours(NEIGHBOURS):
        for _ in range(rounds):
            for server in servers:
                single = [server.target.one(row) for row in later[:SINGLE_ROWS]]
                results[server.target.name, BUSY].append(server.measure(single, 1, seconds))
    return {case: Measurement.median(rounds_) for case, rounds_ in results.items()}


def _servers(servers: list[Server], results: Cases, memory: dict[str, float]) -> str:
    rows = []
    for server in servers:
        name = server.target.name
        one, many, busy = (results[name, case] for case in (ONE, MANY, BUSY))
        bulk = results.get((name, BULK))
        rows.append(
            [
                name,
                f"{one.p50_ms:.2f} / {one.p99_ms:.2f}",
                f"{one.cpu_us:,.0f}",
                f"{many.per_s:,.0f}",
                f"{many.cpu_us:,.0f}",
                f"{busy.cpu_us:,.0f}",
                f"{1000 * BATCH_ROWS / bulk.p50_ms:,.0f}" if bulk else "",
                f"{memory[name]:.0f}",
                f"{server.start_s:.1f}",
            ]
        )
    head = [
        "server", "1 connection: p50 / p99 ms", "CPU µs", f"{CONNECTIONS} connections: requests/s",
        "CPU µs", f"CPU µs beside {NEIGHBOURS} busy neighbours", f"{BATCH_ROWS:,} rows: rows/s",
        "memory MB", "first answer s",
    ]  # fmt: skip
    return report.table(head, rows)


def _ratios(servers: list[Server], results: Cases) -> str:
    """Our figures beside those of the best peer, and beside the floors."""
    peers = [server.target for server in servers if server.target.peer]
    one, many, busy, bulk = (results[OURS, case] for case in (ONE, MANY, BUSY, BULK))

    def best(figure: str, case: str) -> float:
        measured = (results[it.name, case] for it in peers if (it.name, case) in results)
        return min(float(getattr(one, figure)) for one in measured)

    def throughput(*, batching: bool) -> float:
        """Our requests/s beside those of the best peer of the kind; 0 if there is none."""
        rates = [results[it.name, MANY].per_s for it in peers if it.batching == batching]
        return many.per_s / max(rates) if rates else 0.0

    p50, p99 = best("p50_ms", ONE) / one.p50_ms, best("p99_ms", ONE) / one.p99_ms
    cpu, rows_s = best("cpu_us", BUSY) / busy.cpu_us, best("p50_ms", BULK) / bulk.p50_ms
    unbatched, batched = throughput(batching=False), throughput(batching=True)
    view, bare = (one.p50_ms / results[name, ONE].p50_ms for name in (EMPTY, BARE))
    share = many.per_s / results[EMPTY, MANY].per_s
    rate, bulk_rate = f"requests/s, {CONNECTIONS} connections", f"rows/s, {BATCH_ROWS:,} rows"
    for figure, ratio, least in (
        ("p50 beside the best peer", p50, 15),
        ("p99 beside the best peer", p99, 8),
        (f"{rate}, beside the best peer without batching", unbatched, 20),
        (f"{rate}, as a share of the empty view's", share, 0.4),
        ("CPU by request beside the best peer", cpu, 10),
        (f"{bulk_rate}, beside the best peer", rows_s, 20),
    ):
        report.check_aim(figure, ratio, at_least=least)
    report.check_aim("p50 beside the empty view", view, at_most=3)
    rows = [
        ["p50, 1 connection", "best peer", f"1/{p50:.1f}", "≤ 1/15"],
        ["p99, 1 connection", "best peer", f"1/{p99:.1f}", "≤ 1/8"],
        ["p50, 1 connection", EMPTY, f"{view:.1f} ×", "≤ 3 ×"],
        ["p50, 1 connection", BARE, f"{bare:.1f} ×", ""],
        [rate, "best peer without batching", f"{unbatched:.1f} ×", "≥ 20 ×"],
        [rate, "best peer with batching", f"{batched:.1f} ×" if batched else "", ""],
        [rate, EMPTY, f"{share:.0%}", "≥ 25%, aim 40%"],
        ["CPU by request, busy neighbours", "best peer", f"1/{cpu:.1f}", "≤ 1/10"],
        [bulk_rate, "best peer", f"{rows_s:.1f} ×", "≥ 20 ×"],
    ]
    return report.table(["ours", "beside", "measured", "aim"], rows)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
