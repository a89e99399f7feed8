"""The lease of a claimed job, renewed while the work runs; it tells the work when to stop."""

from __future__ import annotations

import threading
from typing import Self

from sqlalchemy import Engine

from shared.db.engine import transaction
from shared.errors import JobCancelled, LeaseLost, Unavailable
from shared.jobs import store as job_store
from shared.jobs.store import Claim, JobProgress
from shared.log import get_logger

RENEW_EVERY_S = 2.0
log = get_logger()


class Lease:
    """Renews one job's lease and writes its progress, from a background thread.

    While PostgreSQL does not answer, the thread tries again: the lease is lost only when another
    worker has claimed the job.
    """

    def __init__(self, engine: Engine, claim: Claim) -> None:
        self._engine = engine
        self._claim = claim
        self.progress: JobProgress | None = None
        self._cancelled = False
        self._lost = False
        self._must_stop = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_closed, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def report(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Set the progress, then `check`."""
        self.progress = JobProgress(phase, done, total)
        self.check()

    def check(self) -> None:
        """Raise if the work must stop.

        Raises:
            JobCancelled: the job was cancelled.
            LeaseLost: another worker has the job.
        """
        if self._lost:
            raise LeaseLost(f"Job {self._claim.job_id} was taken over")
        if self._cancelled:
            raise JobCancelled(f"Job {self._claim.job_id} was cancelled")

    def wait(self, seconds: float) -> None:
        """Wait, at most until the work must stop."""
        self._must_stop.wait(seconds)

    def renew(self) -> None:
        """Renew the lease and write the progress now.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        try:
            with transaction(self._engine) as session:
                self._cancelled |= job_store.renew(session, self._claim, self.progress)
        except LeaseLost:
            self._lost = True
        if self._cancelled or self._lost:
            self._must_stop.set()

    def _renew_until_closed(self) -> None:
        while not self._closed.wait(RENEW_EVERY_S) and not self._lost:
            try:
                self.renew()
            except Unavailable:
                log.warning("job.lease_not_renewed", job_id=self._claim.job_id)
