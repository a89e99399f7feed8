"""Heartbeats: when the beat last sent a message, and when a worker of each queue last took one.

A worker can be alive and consume nothing. So the beat sends a probe to each queue every 30 s, and
the worker that takes it stores the probe's time of sending.
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.db.tables import Heartbeat

BEAT = "beat"


def record(session: Session, name: str, sent_at: dt.datetime) -> None:
    """Store a heartbeat, unless a later one is stored already."""
    row = insert(Heartbeat).values(name=name, sent_at=sent_at)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[Heartbeat.name],
            set_={"sent_at": row.excluded.sent_at, "received_at": func.now()},
            where=Heartbeat.sent_at < row.excluded.sent_at,
        )
    )
