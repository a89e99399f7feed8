"""What an answer costs: our web process, its floors and peers, side by side on one machine.

    make bench BENCH=serving [ARGS="--seconds 2 --rounds 5 --deploys 24 --starts 5"]

Each server is one process on one core, the clients have the other one; servers take turns, and of
the rounds the median counts. All are asked about the same few hundred transactions, one after the
other. CPU is user and system time of the server's processes by request, which a busy machine moves
least. A peer that cannot be installed is left out, and named.
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
from benchmarks.serving.running import Seen, Server, busy_neighbours, running
from benchmarks.serving.targets import BARE, EMPTY, OURS, PIPELINE, TARGETS, Row
from local.demo import sample
from shared.features.extract import RawTransaction, features_of
from shared.registry.store import Registry
from worker.training import fit

ASKED = 300
BATCH = 1_000
MANY = 32
TRAIN_SHARE = 0.8
NEIGHBOURS = 2
QUIET, CROWD, BULK, BUSY = "1 connection", f"{MANY} connections", f"{BATCH:,} rows", "busy"
Cases = dict[tuple[str, str], Seen]


def main(argv: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks serving")
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--deploys", type=int, default=deploys.DEPLOYS)
    options.add_argument("--starts", type=int, default=deploys.STARTS)
    wanted = options.parse_args(argv)
    missing = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        later = prepared(folder)
        servers = []
        for target in TARGETS:
            try:
                servers.append(stack.enter_context(running(target, folder)))
            except NotInstalled as error:
                missing.append(f"{target.name} is not among them: {error}")
        seen = _compared(servers, later, wanted.seconds, wanted.rounds)
        memory = {server.target.name: server.memory_mb() for server in servers}
        stack.close()
        measured = report.conditions("make bench BENCH=serving")
        parts = [_servers(servers, seen, memory), *missing, _ratios(servers, seen)]
        swap = deploys.under_load(folder, later[:ASKED], wanted.deploys)
        after_swap = report.conditions("make bench BENCH=serving")
        start = deploys.start_and_memory(folder, later[:ASKED], wanted.starts)
    report.put(
        "serving",
        measured,
        f"{versions_of('bentoml')}, {versions_of('mlflow')}, {versions_of('mlserver')}.",
        *parts,
    )
    report.put("deploys", after_swap, swap)
    report.put("start", report.conditions("make bench BENCH=serving"), start)
    return 0


def prepared(folder: Path) -> list[Row]:
    """Two versions of our model in a registry, one of them live, and the peers' in a file; what is
    asked of all."""
    statements = sorted(sample.generate(dt.date(2026, 1, 1)), key=lambda row: row.date)
    cut = int(len(statements) * TRAIN_SHARE)
    learned = [row for row in statements[:cut] if row.label]
    labels = [row.label for row in learned]
    raw = [
        RawTransaction(merchant=row.merchant, description=None, amount=-row.amount, date=row.date)
        for row in learned
    ]
    registry = Registry(folder / "registry")
    for seed in (1, 0):
        model = fit.fit([features_of(txn) for txn in raw], labels, seed=seed)
        meta = {
            "val_f1_macro": 0.0,
            "val_accuracy": 0.0,
            "gate": {"passed": True, "reason": "for a benchmark"},
            "trained_through": f"{learned[-1].date}T00:00:00+00:00",
        }
        version = registry.save(model.to_files(), meta)
        registry.deploy(version.run_id, by="benchmark", why="a benchmark")
    joblib.dump(plain.trained(list(map(_as_json, learned)), labels), folder / PIPELINE)
    print(f"{len(learned):,} rows learned, {len(model.labels)} categories", flush=True)
    return list(map(_as_json, statements[cut:]))


def _as_json(row: sample.Row) -> Row:
    amount, date = float(-row.amount), row.date.isoformat()
    return {"merchant": row.merchant, "amount": amount, "date": date}


def _compared(servers: list[Server], later: list[Row], seconds: float, rounds: int) -> Cases:
    found: defaultdict[tuple[str, str], list[Seen]] = defaultdict(list)
    rows = (later * 2)[:BATCH]
    for _ in range(rounds):
        for server in servers:
            name, target = server.target.name, server.target
            single = [target.one(row) for row in later[:ASKED]]
            found[name, QUIET].append(server.asked(single, 1, seconds))
            found[name, CROWD].append(server.asked(single, MANY, seconds))
            if target.many:
                found[name, BULK].append(server.asked([target.many(rows)], 1, seconds))
    with busy_neighbours(NEIGHBOURS):
        for _ in range(rounds):
            for server in servers:
                single = [server.target.one(row) for row in later[:ASKED]]
                found[server.target.name, BUSY].append(server.asked(single, 1, seconds))
    return {case: Seen.median(several) for case, several in found.items()}


def _servers(servers: list[Server], seen: Cases, memory: dict[str, float]) -> str:
    rows = []
    for server in servers:
        name = server.target.name
        one, crowd, busy = (seen[name, case] for case in (QUIET, CROWD, BUSY))
        bulk = seen.get((name, BULK))
        rows.append(
            [
                name,
                f"{one.p50_ms:.2f} / {one.p99_ms:.2f}",
                f"{one.cpu_us:,.0f}",
                f"{crowd.per_s:,.0f}",
                f"{crowd.cpu_us:,.0f}",
                f"{busy.cpu_us:,.0f}",
                f"{1000 * BATCH / bulk.p50_ms:,.0f}" if bulk else "",
                f"{memory[name]:.0f}",
                f"{server.start_s:.1f}",
            ]
        )
    head = [
        "server", "1 connection: p50 / p99 ms", "CPU µs", f"{MANY} connections: requests/s",
        "CPU µs", f"CPU µs beside {NEIGHBOURS} busy neighbours", f"{BATCH:,} rows: rows/s",
        "memory MB", "first answer s",
    ]  # fmt: skip
    return report.table(head, rows)


def _ratios(servers: list[Server], seen: Cases) -> str:
    """Ours beside the best peer, by each figure, and beside the floors."""
    peers = [server.target for server in servers if server.target.peer]
    one, crowd, busy, bulk = (seen[OURS, case] for case in (QUIET, CROWD, BUSY, BULK))

    def best(figure: str, case: str) -> float:
        return min(getattr(seen[it.name, case], figure) for it in peers if (it.name, case) in seen)

    def crowds(*, batching: bool) -> float:
        """How many times the requests of the best peer of the kind; 0 if there is none."""
        found = [seen[it.name, CROWD].per_s for it in peers if it.batching == batching]
        return crowd.per_s / max(found) if found else 0.0

    p50, p99 = best("p50_ms", QUIET) / one.p50_ms, best("p99_ms", QUIET) / one.p99_ms
    cpu, rows_s = best("cpu_us", BUSY) / busy.cpu_us, best("p50_ms", BULK) / bulk.p50_ms
    plainly, batching = crowds(batching=False), crowds(batching=True)
    view, bare = (one.p50_ms / seen[name, QUIET].p50_ms for name in (EMPTY, BARE))
    share = crowd.per_s / seen[EMPTY, CROWD].per_s
    in_crowd, at_once = f"requests/s, {MANY} connections", f"rows/s, {BATCH:,} rows"
    for what, times, least in (
        ("p50 beside the best peer", p50, 15),
        ("p99 beside the best peer", p99, 8),
        (f"{in_crowd}, beside the best peer without batching", plainly, 20),
        (f"{in_crowd}, as a share of the empty view's", share, 0.4),
        ("CPU by request beside the best peer", cpu, 10),
        (f"{at_once}, beside the best peer", rows_s, 20),
    ):
        report.aimed(what, times, at_least=least)
    report.aimed("p50 beside the empty view", view, at_most=3)
    rows = [
        ["p50, 1 connection", "best peer", f"1/{p50:.1f}", "≤ 1/15"],
        ["p99, 1 connection", "best peer", f"1/{p99:.1f}", "≤ 1/8"],
        ["p50, 1 connection", EMPTY, f"{view:.1f} ×", "≤ 3 ×"],
        ["p50, 1 connection", BARE, f"{bare:.1f} ×", ""],
        [in_crowd, "best peer without batching", f"{plainly:.1f} ×", "≥ 20 ×"],
        [in_crowd, "best peer with batching", f"{batching:.1f} ×" if batching else "", ""],
        [in_crowd, EMPTY, f"{share:.0%}", "≥ 25%, aim 40%"],
        ["CPU by request, busy neighbours", "best peer", f"1/{cpu:.1f}", "≤ 1/10"],
        [at_once, "best peer", f"{rows_s:.1f} ×", "≥ 20 ×"],
    ]
    return report.table(["ours", "beside", "measured", "aim"], rows)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
