"""Times POST /ml/v2/suggest on stored transactions: queries and milliseconds by rows of a call.

    python -m benchmarks.suggest.calls

On a PostgreSQL of its own, with made-up shops, features, labels and a model; the application is
called in this process, so that what is timed is the service and not a server.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import event, text

from local.servers import postgres
from shared import services as composition
from shared.db import migrate
from shared.settings import Settings
from tests.api import deploy_a_model
from tests.factories import add_transactions
from web.app import create_app
from worker import feature_build

STORED = 20_000
SIZES = (1, 100, 1_000)
CALLS = {1: 300, 100: 60, 1_000: 12}


def timed(client: FlaskClient, body: dict[str, Any], calls: int) -> list[float]:
    """Milliseconds of each call."""
    found = []
    for _ in range(calls):
        began = time.perf_counter()
        answer = client.post("/ml/v2/suggest", json=body, headers={"X-Suggest-Arm": "model"})
        found.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, answer.text
    return found


def main() -> int:
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        env = {
            "DATABASE_URL": server.url,
            "REDIS_URL": "redis://unused",
            "ML_REGISTRY_DIR": str(Path(folder) / "registry"),
            "API_AUTH": "off",
        }
        os.environ.update(env)
        held = composition.build(Settings.from_env(env))
        migrate(held.engine)
        ids = add_transactions(held.engine, STORED, labelled=STORED // 2)
        with held.engine.begin() as connection:  # as people's are: some shops often, most seldom
            connection.execute(
                text(
                    "UPDATE transactions SET user_id = 'user ' || id % 50, "
                    "merchant = merchant || ' ' || (900 / (1 + id % 450)) || 'X'"
                )
            )
        feature_build.refresh(held.engine, feature_build.Scope())
        deploy_a_model(held.engine, held.registry)
        held.runtime.start()
        client = create_app(held).test_client()
        queries: list[str] = []
        event.listen(
            held.engine, "before_cursor_execute", lambda _c, _cur, sql, *_: queries.append(sql)
        )
        print(f"{STORED:,} stored transactions, half of them labelled\n")
        print("| rows | queries | p50 ms | p99 ms | rows/s |\n|---|---|---|---|---|")
        for size in SIZES:
            body = {"txn_ids": ids[-size:]}
            timed(client, body, 3)
            queries.clear()
            timed(client, body, 1)
            asked = len(queries)
            took = sorted(timed(client, body, CALLS[size]))
            middle = statistics.median(took)
            late = took[min(len(took) - 1, round(0.99 * len(took)))]
            print(
                f"| {size:,} | {asked} | {middle:.1f} | {late:.1f} | {1000 * size / middle:,.0f} |"
            )
        held.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
