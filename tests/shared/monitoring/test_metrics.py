"""What monitoring reads: right with several processes, and never in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from local.servers import temporary
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.monitoring.database_collector import DatabaseCollector
from shared.monitoring.job_metrics import TRAIN_STATUSES
from shared.services import build as build_services
from shared.settings import Settings
from web.app import create_app

SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}
# What a process does that counts two predictions and ends.
TWO_PREDICTIONS = (
    "from shared.monitoring import metrics\n"
    "metrics.count_prediction(available=True, seconds=0.001)\n"
    "metrics.count_prediction(available=False, seconds=0.001)\n"
)


def scraped(body):
    """Every sample by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def add_ended_training(engine, state, result, when="now()"):
    """A training run that has ended."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO jobs (id, kind, state, requested_by, result, finished_at) VALUES "
                f"(md5(random()::text), 'train', :state, 'test', cast(:result AS jsonb), {when})"
            ),
            {"state": state, "result": result},
        )


def test_training_figures_come_from_the_jobs(engine, clean, registry):
    """A failed run counts, and leaves the F1 of the last one that gave one."""
    add_ended_training(
        engine, "succeeded", '{"val_f1_macro": 0.5, "deployed": false}', "now() - interval '2 h'"
    )
    add_ended_training(
        engine, "succeeded", '{"val_f1_macro": 0.8, "deployed": true}', "now() - interval '1 h'"
    )
    add_ended_training(engine, "succeeded", '{"skipped": true, "reason": "nothing new"}')
    add_ended_training(engine, "failed", None)

    families = {family.name: family for family in DatabaseCollector(engine, registry).collect()}

    runs = {s.labels["status"]: s.value for s in families["lm_ml_train_runs"].samples}
    assert runs == {"deployed": 1, "kept": 1, "skipped": 1, "failed": 1, "cancelled": 0}
    assert [s.value for s in families["lm_ml_train_val_f1_macro"].samples] == [0.8]
    last = families["lm_ml_train_last_finished_timestamp_seconds"].samples
    assert all(abs(s.value - time.time()) < 3 * 3600 for s in last)
    assert set(runs) == set(TRAIN_STATUSES)


def test_metrics_of_all_processes_of_a_folder_are_summed(environment, tmp_path):
    """Also those that have ended: a counter never goes back."""
    own = {**environment, "PATH": os.defpath, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(3):
        subprocess.run([sys.executable, "-c", TWO_PREDICTIONS], env=own, check=True)
    scrape = (
        "from web.wsgi import app\n"
        "from shared.monitoring.database_collector import DatabaseCollector\n"
        "DatabaseCollector.FIRST_TIMEOUT_S = 60.0\n"
        "print(app.test_client().get('/metrics').get_data(as_text=True))\n"
    )

    body = subprocess.run(
        [sys.executable, "-c", scrape], env=own, check=True, capture_output=True, text=True
    ).stdout

    found = scraped(body)
    assert found["lm_ml_predict_requests_total", ("available", "true")] == 3
    assert found["lm_ml_predict_requests_total", ("available", "false")] == 3
    assert found["lm_ml_predict_latency_seconds_count",] == 6
    assert ("lm_ml_train_runs_total", ("status", "failed")) in found


def test_requests_are_counted_by_route_and_never_by_path(client):
    """A path is what a caller makes up; a route is one of a few."""
    for name in ("a", "b", "/nowhere/c"):
        client.get(f"/ml/v2/jobs/{name}")

    found = scraped(client.get("/metrics").get_data(as_text=True))

    routes = {dict(key[1:]).get("route") for key in found if key[0] == "lm_http_requests_total"}
    assert {"/ml/v2/jobs/<job_id>", "(none)"} <= routes
    assert not any("nowhere" in str(route) for route in routes)


@pytest.fixture
def frozen(registry):
    """A database of its own that no longer moves, though its port is open; and one that knows it.

    A scrape before the freeze has left a connection in the pool: the one that would hang.
    """
    with temporary.postgres() as server:
        settings = Settings.from_env({"DATABASE_URL": server.url, "REDIS_URL": "redis://x"})
        engine = make_engine(settings.database_url)
        migrate(engine)
        facts = DatabaseCollector(engine, registry)
        list(facts.collect())
        facts.MAX_AGE_S = 0.0
        main = psutil.Process(server.pid)
        stopped = [main, *main.children(recursive=True)]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        yield facts
        for process in reversed(stopped):
            process.send_signal(signal.SIGCONT)
        engine.dispose()


def test_scrape_does_not_wait_for_a_frozen_database(frozen):
    """It answers with the last metrics while the read still hangs, and begins no second read."""
    reads = []
    for _ in range(2):
        found = {family.name for family in frozen.collect()}
        reads.append(frozen._reading)

        assert "lm_ml_train_runs" in found
    assert reads[0] is reads[1]
    assert not reads[0].done()


def test_a_database_without_tables_does_not_break_a_scrape(settings, postgres_server, registry):
    """Before the first migration there is nothing to know, and all else is told."""
    services = build_services(settings)
    with services.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE empty_one"))
    services.close()
    empty = make_engine(settings.database_url.rsplit("/", 1)[0] + "/empty_one")

    families = list(DatabaseCollector(empty, registry).collect())
    empty.dispose()

    assert families == []


def test_a_prediction_is_timed_with_and_without_a_model(client, services):
    """`available` says which; alerts need the series from the first scrape on."""
    before = scraped(client.get("/metrics").get_data(as_text=True))

    client.post("/ml/v2/predict", json=SHOP)
    again = create_app(services).test_client()
    after = scraped(again.get("/metrics").get_data(as_text=True))

    name = "lm_ml_predict_requests_total", ("available", "false")
    assert after[name] - before[name] == 1
    count = ("lm_ml_predict_latency_seconds_count",)
    assert after[count] - before[count] == 1
