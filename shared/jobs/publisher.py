"""The publisher of new jobs: a background thread that sends their messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from shared.db.engine import transaction
from shared.db.tables import Job, JobKind
from shared.errors import Unavailable
from shared.jobs import store as job_store
from shared.jobs.broker import BROKER_ERRORS, send
from shared.log import get_logger

BACKOFF_S = 1.0
MAX_WAITING = 100  # more are left to the workers' recovery

log = get_logger()


class JobPublisher:
    """Sends messages from one thread, so that no caller waits for the broker.

    After a failure it leaves messages to the workers' recovery for BACKOFF_S: a frozen broker takes
    seconds to fail, and a queue of such sends would always be late.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher")
        self._slots = threading.Semaphore(MAX_WAITING)
        self._backoff_until = 0.0  # monotonic seconds

    def publish(self, jobs: Iterable[Job]) -> None:
        """Send the messages of these jobs, whose rows are committed."""
        for job in jobs:
            if self._slots.acquire(blocking=False):
                self._thread.submit(self._send, job.id, job.kind)

    def _send(self, job_id: str, kind: JobKind) -> None:
        try:
            if time.monotonic() < self._backoff_until:
                return
            send(job_id, kind)
            with transaction(self._engine) as session:
                job_store.mark_sent(session, [job_id])
        except (*BROKER_ERRORS, Unavailable) as error:
            self._backoff_until = time.monotonic() + BACKOFF_S
            log.warning("job.not_sent", job_id=job_id, error=type(error).__name__)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Send what is queued, then end the thread."""
        self._thread.shutdown(wait=True)
