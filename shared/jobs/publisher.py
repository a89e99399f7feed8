"""The publisher of new jobs: sends their messages from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from shared.db.engine import transaction
from shared.db.tables import Job, JobKind
from shared.errors import Unavailable
from shared.jobs import store as job_store
from shared.jobs.broker import BROKER_ERRORS, send
from shared.log import get_logger

BACKOFF_S = 1.0

log = get_logger()


class JobPublisher:
    """Publishes jobs in one background thread, so that no caller waits for the broker.

    After a failed send it leaves the next ones to the workers' recovery for QUIET_S seconds: a
    frozen broker takes seconds to fail, and a queue of such sends would always be late.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="messenger")
        self._waiting = threading.Semaphore(100)  # more are left to the recovery
        self._quiet_until = 0.0  # monotonic seconds

    def publish(self, sent: Sequence[Job]) -> None:
        """Send a message for each of these jobs, whose rows are committed."""
        for job in sent:
            if self._waiting.acquire(blocking=False):
                self._thread.submit(self._send, job.id, job.kind)

    def _send(self, job_id: str, kind: JobKind) -> None:
        try:
            if time.monotonic() < self._quiet_until:
                return
            send(job_id, kind)
            with transaction(self._engine) as session:
                job_store.mark_sent(session, [job_id])
        except (*BROKER_ERRORS, Unavailable) as error:
            self._quiet_until = time.monotonic() + BACKOFF_S
            log.warning("job.not_sent", job_id=job_id, error=type(error).__name__)
        finally:
            self._waiting.release()

    def close(self) -> None:
        """Send what is queued, then end the thread."""
        self._thread.shutdown(wait=True)
