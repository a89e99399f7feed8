"""Signs of life that no process can give for another: the beat ticks, a worker takes messages.

A worker can be alive and consume nothing, so the beat sends each queue a probe every half minute,
and the worker that takes it writes down when it was sent.
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.tables import Heartbeat

BEAT = "beat"


def note(session: Session, name: str, sent_at: dt.datetime) -> None:
    """Keep a sign of life; of several the one sent last counts, in whatever order they come."""
    row = insert(Heartbeat).values(name=name, sent_at=sent_at)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[Heartbeat.name],
            set_={"sent_at": row.excluded.sent_at, "received_at": func.now()},
            where=Heartbeat.sent_at < row.excluded.sent_at,
        )
    )
