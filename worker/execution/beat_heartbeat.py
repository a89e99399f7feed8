"""The beat's heartbeat: each message gets its time of sending, and the last one is stored."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery.signals import after_task_publish, beat_init, before_task_publish
from sqlalchemy.exc import SQLAlchemyError

from shared.db.engine import make_engine, transaction
from shared.errors import Unavailable
from shared.jobs import heartbeats
from shared.log import get_logger
from shared.settings import Settings, process_settings

SENT_AT = "ledger_sent_at"  # header of a message, Unix time
log = get_logger()


def read_sent_at(request: Any) -> dt.datetime:
    """Return when the message of a task was sent; now, if it has no such header."""
    seconds = getattr(request, SENT_AT, None)
    return dt.datetime.fromtimestamp(seconds, dt.UTC) if seconds else dt.datetime.now(dt.UTC)


class BeatHeartbeat:
    """Stores heartbeats from a background thread: a dead database must not stop the beat."""

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(
            settings.database_url, pool_size=1, max_overflow=0, application="ledger beat"
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heartbeat")
        self._idle = threading.Semaphore()

    def tick(self, **_: Any) -> None:
        """Store that a message was sent now; skipped while another is being stored."""
        if self._idle.acquire(blocking=False):
            self._thread.submit(self._write, dt.datetime.now(dt.UTC))

    def close(self) -> None:
        """Finish the current write, then end the thread."""
        self._thread.shutdown(wait=True)
        self._engine.dispose()

    def _write(self, at: dt.datetime) -> None:
        try:
            with transaction(self._engine) as session:
                heartbeats.record(session, heartbeats.BEAT, at)
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("beat.tick_not_written", error=type(error).__name__)
        finally:
            self._idle.release()


@beat_init.connect
def _start(**_: Any) -> None:
    before_task_publish.connect(_add_sent_at, weak=False)
    after_task_publish.connect(BeatHeartbeat(process_settings()).tick, weak=False)


def _add_sent_at(headers: dict[str, Any], **_: Any) -> None:
    headers[SENT_AT] = dt.datetime.now(dt.UTC).timestamp()
