"""What one user calls things is told to nobody else: a planted name, and a thousand who ask."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from shared.db.tables import LabelSource, Transaction, TransactionLabel
from shared.services import Services
from shared.services import build as build_services
from shared.settings import Settings
from tests.attacks.doors import DECLARED
from tests.support.api import ADMIN, TOKENS, bearer, create_app
from worker.training import pipeline

PLANTED = "Planted Xyzzy"
SHOP = {"merchant": "NIGHT CLINIC 77", "description": "visit", "amount": -80.0}
OTHERS = [f"other {number}" for number in range(1_000)]
OWNER, FRIENDS = "owner", ("one", "two", "three")


def transactions() -> Iterator[tuple[dict[str, Any], str]]:
    """Labelled transactions of four users; one of them has a word of their own."""
    for day in range(60):
        date = dt.date(2026, 1, 1) + dt.timedelta(days=day)
        for user in (OWNER, *FRIENDS):
            for shop, label in (("CORNER GROCER", "Food"), ("PUMP 9", "Fuel")):
                txn = {"merchant": shop, "amount": -20.0 - day, "date": date, "user_id": user}
                yield txn, label
        yield {**SHOP, "date": date, "user_id": OWNER}, PLANTED


@pytest.fixture(scope="module")
def services(
    engine: Engine, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """A model that learned the planted name, live for all users."""
    own = {**environment, "ML_REGISTRY_DIR": str(tmp_path_factory.mktemp("planted"))}
    settings = Settings.from_env({**own, "SUGGEST_USE_MODEL_CANARY": "1"})
    built = build_services(replace(settings, api_auth=True, api_tokens=TOKENS))
    with engine.begin() as connection:
        for txn, label in transactions():
            txn_id = connection.scalar(insert(Transaction).values(txn).returning(Transaction.id))
            given = {"txn_id": txn_id, "label": label, "source": LabelSource.HUMAN}
            connection.execute(insert(TransactionLabel).values(given))
    request = pipeline.TrainRequest(
        job_id="planted", limit=None, only_if_new=False, min_labels=20, threshold_f1=0.0
    )
    report = pipeline.run(engine, built.registry, request, lambda *_: None)
    assert not isinstance(report, pipeline.SkippedRun)
    built.registry.deploy(report.run_id, by="test", why="a test")
    built.live_model.check()
    yield built
    built.close()


@pytest.fixture(scope="module")
def asked(services: Services) -> FlaskClient:
    return create_app(services).test_client()


def test_its_owner_is_told_the_planted_name(asked: FlaskClient) -> None:
    """Else the attack would find nothing because there is nothing."""
    found = asked.post(
        "/ml/v2/predict", json={**SHOP, "user_id": OWNER}, headers=bearer(ADMIN)
    ).json

    assert found["label"] == PLANTED


@pytest.mark.parametrize(
    "route", ["predict", "predict/batch", "predict/explain", "suggest/explain"]
)
def test_no_other_user_is_told_the_planted_name(asked: FlaskClient, route: str) -> None:
    finds = 0
    if route == "predict/batch":
        body: dict[str, Any] = {"rows": [{**SHOP, "user_id": user} for user in (*OTHERS[:999], "")]}
        finds += count_finds(asked, f"/ml/v2/{route}", body)
    else:
        for user in (*OTHERS, *FRIENDS):
            finds += count_finds(asked, f"/ml/v2/{route}", {**SHOP, "user_id": user})
        finds += count_finds(asked, f"/ml/v2/{route}", SHOP)

    assert finds == 0


def test_no_other_user_is_suggested_the_planted_name(asked: FlaskClient) -> None:
    for user in (*OTHERS, *FRIENDS):
        body = {"user_id": user, "transactions": [SHOP, {"merchant": "NIGHT CLINIC"}]}
        assert count_finds(asked, "/ml/v2/suggest", body) == 0


def test_reports_pages_and_metrics_do_not_name_it(asked: FlaskClient, services: Services) -> None:
    """All that can be read without naming its owner."""
    run_id = services.registry.versions()[0].run_id
    reads = [door.split()[1] for door in DECLARED if door.startswith("GET")]
    paths = [path.replace("<run_id>", run_id) for path in reads if "<suggestion_id>" not in path]
    pages = ["/", "/figures", "/review", "/try", "/metrics", "/charts/classes.svg"]

    for path in (*paths, *pages):
        for query in ("", f"?user_id={OTHERS[0]}"):
            answer = asked.get(path + query, headers=bearer(ADMIN))
            assert PLANTED.encode() not in answer.data, path


def count_finds(client: FlaskClient, path: str, body: dict[str, Any]) -> int:
    """How often the answer has the planted name or a word of it."""
    answer = client.post(path, json=body, headers=bearer(ADMIN))
    assert answer.status_code == 200, answer.json
    return answer.data.count(b"Planted") + answer.data.count(b"Xyzzy")
