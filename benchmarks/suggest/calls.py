"""Times POST /ml/v2/suggest on stored transactions: queries, milliseconds and rows a second.

    make bench BENCH=suggest

A PostgreSQL of its own, made-up shops, features, labels and a model; asked over HTTP as any caller
would. Each answer is stored before it is given. Queries are counted in this process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import event, text

from benchmarks import report
from benchmarks.serving.running import Seen, running
from benchmarks.serving.targets import OURS, TARGETS, TOKEN
from local.servers.temporary import postgres
from shared import services
from shared.db.migrate import migrate
from shared.services import Services
from shared.settings import Settings
from tests.support.api import deploy_a_model
from tests.support.factories import add_transactions
from web.app import create_app
from worker.features import build as feature_build

STORED = 60_000
USERS = 50
CALLS = 20
SECONDS = 3.0
ROUNDS = 5


def main(argv: Sequence[str]) -> int:
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        env = {
            "DATABASE_URL": server.url,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "ML_REGISTRY_DIR": str(Path(folder) / "registry"),
            "API_TOKENS": f"admin:{TOKEN}",
        }
        os.environ.update(env)
        held = services.build(Settings.from_env(env))
        ids = _filled(held)
        calls = _calls(ids)
        queries = {case: _queries(held, sets[0]) for case, sets in calls.items()}
        held.close()
        target = next(it for it in TARGETS if it.name == OURS)
        lines = []
        with running(target, Path(folder), **env) as web:
            for case, sets in calls.items():
                requests = list(map(request_for, sets))
                web.asked(requests, 1, 0.5)
                mid = Seen.median([web.asked(requests, 1, SECONDS) for _ in range(ROUNDS)])
                size = len(sets[0])
                lines.append(
                    [
                        case, queries[case], f"{mid.p50_ms:.1f}", f"{mid.p99_ms:.1f}",
                        f"{1000 * size / mid.p50_ms:,.0f}", f"{mid.cpu_us / 1000:.1f}",
                    ]
                )  # fmt: skip
    report.put(
        "suggest",
        report.conditions("make bench BENCH=suggest"),
        f"{STORED:,} stored transactions of {USERS} users, half of them labelled.",
        report.table(["a call for", "queries", "p50 ms", "p99 ms", "rows/s", "CPU ms"], lines),
    )
    return 0


def _filled(held: Services) -> list[int]:
    migrate(held.engine)
    ids = add_transactions(held.engine, STORED, labelled=STORED // 2)
    with held.engine.begin() as connection:  # as people's are: some shops often, most seldom
        connection.execute(
            text(
                f"UPDATE transactions SET user_id = 'user ' || id % {USERS}, "
                "merchant = merchant || ' ' || (900 / (1 + id % 450)) || 'X'"
            )
        )
    feature_build.build_pending(held.engine, feature_build.Scope())
    deploy_a_model(held.engine, held.registry)
    with held.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return ids


def _calls(ids: list[int]) -> dict[str, list[list[int]]]:
    """What is asked for, a list of ids each; other ids each time, as they come in."""
    of_user = [[it for it in ids if it % USERS == user] for user in range(CALLS)]
    return {
        "1": [[it] for it in ids[: 10 * CALLS]],
        "100 of one user": [some[:100] for some in of_user],
        "1,000 of one user": [some[:1_000] for some in of_user],
        f"1,000 of {USERS} users": [ids[1_000 * at :][:1_000] for at in range(CALLS)],
    }


def _queries(held: Services, ids: list[int]) -> int:
    """How many statements a call of this process asks, once all has been read that is kept."""
    client, seen = create_app(held).test_client(), []
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Suggest-Arm": "model"}
    for _ in range(3):
        assert client.post("/ml/v2/suggest", json={"txn_ids": ids}, headers=headers).json
    event.listen(held.engine, "before_cursor_execute", lambda *told: seen.append(told[2]))
    answer = client.post("/ml/v2/suggest", json={"txn_ids": ids}, headers=headers)
    assert answer.status_code == 200, answer.text
    return len(seen)


def request_for(ids: list[int]) -> bytes:
    data = json.dumps({"txn_ids": ids}).encode()
    head = (
        f"POST /ml/v2/suggest HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"X-Suggest-Arm: model\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
