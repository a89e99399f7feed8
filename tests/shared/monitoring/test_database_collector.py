"""Metrics that are read from the database, once for all processes of a folder."""

from __future__ import annotations

import itertools
import time

from shared.db.engine import make_engine, transaction
from shared.monitoring.database_collector import DatabaseCollector
from tests.support.api import deploy_a_model
from tests.support.metrics import add_job, samples_by_label


def test_processes_of_a_folder_share_the_newest_queue_counts(
    engine, clean, tmp_path, monkeypatch, registry
):
    """Else a count would seem to go back, and then to begin anew, when PostgreSQL goes away."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(DatabaseCollector, "TIMEOUT_S", 60.0)  # however slow this machine is
    gone = make_engine("postgresql+psycopg2://u:p@127.0.0.1:9/d")
    hours = itertools.count(1.0, 3600.0)
    cut_off, other = (
        DatabaseCollector(engine, registry, clock=lambda: next(hours)) for _ in range(2)
    )
    before = samples_by_label(cut_off.collect())
    with transaction(engine) as session:
        add_job(session, "train", ago=10, waited=1, worked=1, state="failed")
    cut_off._engine = gone

    newest = samples_by_label(other.collect())
    after = samples_by_label(cut_off.collect())

    name = "lm_ml_train_runs_total", "failed"
    assert (before[name], newest[name], after[name]) == (0, 1, 1)
    assert len(list(tmp_path.glob("facts-*"))) == 1


def test_metrics_have_the_deployment_of_each_process(client, services, engine):
    """None, then the first, then the second."""
    started = time.time()
    services.live_model.start()
    states = []
    for name in ("", "A ", "B "):
        if name:
            deploy_a_model(engine, services.registry, rename=name)
            services.live_model.check()
        body = client.get("/metrics").text
        lines = [line for line in body.splitlines() if line.startswith("lm_model_")]
        states.append(dict(line.rsplit(" ", 1) for line in lines))

    live = 'lm_model_processes{process="worker",state="live"}'
    assert [state[live] for state in states] == ["0.0", "1.0", "1.0"]
    assert states[0]['lm_model_processes{process="worker",state="none"}'] == "1.0"
    assert states[2]['lm_model_sequence{process="worker"}'] == "2.0"
    made = float(states[2]['lm_model_timestamp_seconds{event="made",process="worker"}'])
    assert int(started) <= made <= time.time()
