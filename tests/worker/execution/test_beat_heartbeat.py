"""The heartbeat of the beat never holds up the schedule."""

from __future__ import annotations

import time
from dataclasses import replace

from sqlalchemy import text

from shared.db.engine import transaction
from shared.monitoring import job_metrics
from tests.support.metrics import samples_by_label
from worker.execution import beat_heartbeat


def test_beat_goes_on_while_its_heartbeat_cannot_be_written(settings, engine, clean):
    """It waits neither for a table that is locked nor for a PostgreSQL that is away."""
    away = beat_heartbeat.BeatHeartbeat(
        replace(settings, database_url="postgresql+psycopg2://u:p@127.0.0.1:9/d")
    )
    there = beat_heartbeat.BeatHeartbeat(settings)
    started = time.time()
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE heartbeats"))
        for _ in range(100):
            away.tick(sender="ledger.probe", headers={}, body=())
            there.tick(sender="ledger.probe", headers={}, body=())
        still_writing = not there._idle.acquire(blocking=False)
    there.close()
    away.close()

    with transaction(engine) as session:
        found = samples_by_label(job_metrics.collect_current(session))
    assert still_writing
    assert started <= found["lm_beat_last_tick_timestamp_seconds",] <= time.time()
