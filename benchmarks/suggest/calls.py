"""Cost of POST /ml/v2/suggest for stored transactions: SQL queries, milliseconds, rows a second.

    make bench BENCH=suggest

A temporary PostgreSQL has made-up merchants, features and labels; a model is live. Requests come
over HTTP, and each suggestion is stored before the response. Queries are counted in this process.
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
from benchmarks.serving.running import Measurement, running
from benchmarks.serving.targets import OURS, TARGETS, TOKEN
from local.servers.temporary import postgres
from shared.db.migrate import migrate
from shared.services import Services
from shared.services import build as build_services
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
        services = build_services(Settings.from_env(env))
        ids = fill(services)
        calls = make_calls(ids)
        queries = {case: _count_queries(services, sets[0]) for case, sets in calls.items()}
        services.close()
        target = next(target for target in TARGETS if target.name == OURS)
        table = []
        with running(target, Path(folder), env=env) as web:
            for case, sets in calls.items():
                requests = list(map(request_for, sets))
                web.measure(requests, 1, 0.5)
                median = Measurement.median(
                    [web.measure(requests, 1, SECONDS) for _ in range(ROUNDS)]
                )
                size = len(sets[0])
                table.append(
                    [
                        case, queries[case], f"{median.p50_ms:.1f}", f"{median.p99_ms:.1f}",
                        f"{1000 * size / median.p50_ms:,.0f}", f"{median.cpu_us / 1000:.1f}",
                    ]
                )  # fmt: skip
    report.publish(
        "suggest",
        report.conditions("make bench BENCH=suggest"),
        f"{STORED:,} stored transactions of {USERS} users, half of them labelled.",
        report.table(["a call for", "queries", "p50 ms", "p99 ms", "rows/s", "CPU ms"], table),
    )
    return 0


def fill(services: Services) -> list[int]:
    """Store transactions, half of them labelled, and deploy a model; return their ids."""
    migrate(services.engine)
    ids = add_transactions(services.engine, STORED, labelled=STORED // 2)
    with (
        services.engine.begin() as connection
    ):  # as in real life: few merchants are frequent, most are rare
        connection.execute(
            text(
                f"UPDATE transactions SET user_id = 'user ' || id % {USERS}, "
                "merchant = merchant || ' ' || (900 / (1 + id % 450)) || 'X'"
            )
        )
    feature_build.build_pending(services.engine, feature_build.Scope())
    deploy_a_model(services.engine, services.registry)
    with services.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return ids


def make_calls(ids: list[int]) -> dict[str, list[list[int]]]:
    """For each case the ids of its requests; each request has other ids, as in use."""
    of_user = [[txn_id for txn_id in ids if txn_id % USERS == user] for user in range(CALLS)]
    return {
        "1": [[txn_id] for txn_id in ids[: 10 * CALLS]],
        "100 of one user": [user_ids[:100] for user_ids in of_user],
        "1,000 of one user": [user_ids[:1_000] for user_ids in of_user],
        f"1,000 of {USERS} users": [ids[1_000 * call :][:1_000] for call in range(CALLS)],
    }


def _count_queries(services: Services, ids: list[int]) -> int:
    """Number of SQL statements of one request, once the caches are full."""
    client, statements = create_app(services).test_client(), []
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Suggest-Arm": "model"}
    for _ in range(3):
        assert client.post("/ml/v2/suggest", json={"txn_ids": ids}, headers=headers).json
    event.listen(services.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    response = client.post("/ml/v2/suggest", json={"txn_ids": ids}, headers=headers)
    assert response.status_code == 200, response.text
    return len(statements)


def request_for(ids: list[int]) -> bytes:
    """A whole HTTP request for suggestions of these transactions."""
    data = json.dumps({"txn_ids": ids}).encode()
    head = (
        f"POST /ml/v2/suggest HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"X-Suggest-Arm: model\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
