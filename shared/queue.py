"""Asking for work: one typed function for each request, and the messages that hint at it.

A request is a committed row; the message is only a hint that there is one. It is sent by a thread
of its own, so that no caller ever waits for the broker, and what does not go out is sent again by
the workers' sweep (`worker.app`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from celery import Celery
from kombu.exceptions import KombuError
from redis import Redis, RedisError
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared import imports, jobs
from shared.db import transaction
from shared.errors import AlreadyRunning, Unavailable
from shared.log import get_logger
from shared.queues import QUEUE_OF, QUEUES
from shared.tables import Job, JobKind

RUN_JOB = "ledger.run_job"
NIGHTLY = "ledger.nightly"
GUARD = "ledger.guard"
PROBE = "ledger.probe"
WATCH = "ledger.watch"
# What a broker that is down, frozen, full or gone makes of a send; see kombu and redis-py.
BROKER_ERRORS = (KombuError, RedisError, OSError, RuntimeError)
QUIET_S = 1.0

celery = Celery("ledger")
celery.config_from_object("celeryconfig")
log = get_logger()


class Messenger:
    """Sends the messages of new jobs, in a thread of its own, one process's after another.

    After a send that failed it leaves the next ones to the workers' sweep for a moment: a frozen
    broker takes seconds to fail, and a queue of such sends would be late for ever.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="messenger")
        self._waiting = threading.Semaphore(100)  # more are left to the sweep
        self._quiet_until = 0.0  # monotonic seconds

    def announce(self, sent: Sequence[Job]) -> None:
        """Have a message sent for each of these jobs, whose rows are committed."""
        for job in sent:
            if self._waiting.acquire(blocking=False):
                self._thread.submit(self._send, job.id, job.kind)

    def _send(self, job_id: str, kind: JobKind) -> None:
        try:
            if time.monotonic() < self._quiet_until:
                return
            send(job_id, kind)
            with transaction(self._engine) as session:
                jobs.mark_sent(session, [job_id])
        except (*BROKER_ERRORS, Unavailable) as error:
            self._quiet_until = time.monotonic() + QUIET_S
            log.warning("job.not_sent", job_id=job_id, error=type(error).__name__)
        finally:
            self._waiting.release()

    def close(self) -> None:
        """Send what waits, and end."""
        self._thread.shutdown(wait=True)


def send(job_id: str, kind: JobKind) -> None:
    """Put one message into the queue of its kind.

    Raises:
        KombuError, RedisError, OSError, RuntimeError: the broker did not take it in time.
    """
    celery.send_task(RUN_JOB, args=[job_id], queue=QUEUE_OF[kind], ignore_result=True, retry=False)


def resend(engine: Engine, broker: Redis) -> int:
    """Send again what never went out or was lost on the way; give how many messages went out.

    Raises:
        RedisError, KombuError: the broker does not answer.
        Unavailable: PostgreSQL does not.
    """
    count = 0
    for queue, kinds in QUEUES.items():
        empty = broker.llen(queue) == 0
        with transaction(engine) as session:
            lost = jobs.unsent(session, kinds, queue_is_empty=empty)
            for job in lost:
                send(job.id, job.kind)
            jobs.mark_sent(session, [job.id for job in lost])
            count += len(lost)
    return count


def request_features(
    engine: Engine,
    messenger: Messenger,
    *,
    requested_by: str,
    days: int | None,
    idempotency_key: str | None = None,
) -> Job:
    """Ask for the features of new and changed transactions of the last *days*; None means all.

    Raises:
        Conflict: the key was used before for another request.
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        job, new = jobs.create(
            session,
            JobKind.FEATURES,
            requested_by=requested_by,
            params={"days": days},
            idempotency_key=idempotency_key,
        )
    if new:
        messenger.announce([job])
    return job


def request_training(
    engine: Engine,
    messenger: Messenger,
    *,
    requested_by: str,
    limit: int | None,
    deploy: str,
    idempotency_key: str | None = None,
    only_if_new: bool = False,
    reason: str = "",
) -> Job:
    """Ask for a training run on the newest *limit* labels; `deploy` is `gate` or `never`.

    Args:
        only_if_new: skip it where no label or transaction has changed since the last version.
        reason: kept with the job.

    Raises:
        AlreadyRunning: a run is queued or running.
        Conflict: the key was used before for another request.
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        job, new = jobs.create(
            session,
            JobKind.TRAIN,
            requested_by=requested_by,
            params={
                "limit": limit,
                "deploy": deploy,
                **({"only_if_new": True} if only_if_new else {}),
                **({"reason": reason} if reason else {}),
            },
            idempotency_key=idempotency_key,
        )
    if new:
        messenger.announce([job])
    return job


def request_for_user(
    engine: Engine,
    messenger: Messenger,
    kind: Literal[JobKind.SUGGEST, JobKind.RULES],
    *,
    requested_by: str,
    user_id: str | None,
    idempotency_key: str | None = None,
) -> Job:
    """Ask for suggestions, or for the rules' labels, for each transaction of a user that neither a
    person nor an import has labelled; None means everybody's.

    Raises:
        Conflict: the key was used before for another request.
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        job, new = jobs.create(
            session,
            kind,
            requested_by=requested_by,
            params={"user_id": user_id},
            idempotency_key=idempotency_key,
        )
    if new:
        messenger.announce([job])
    return job


def request_import(
    engine: Engine,
    messenger: Messenger,
    *,
    requested_by: str,
    file: imports.Brought,
    idempotency_key: str | None = None,
) -> Job:
    """Keep a file, and ask for its transactions to be stored and suggested for.

    Raises:
        Conflict: the key was used before for another file, or with other options.
        Unavailable: PostgreSQL does not answer; nothing is kept.
    """
    with transaction(engine) as session:
        import_id = imports.keep(session, file)
        job, new = jobs.create(
            session,
            JobKind.IMPORT,
            requested_by=requested_by,
            params={"import_id": import_id, "user_id": file.options.user},
            idempotency_key=idempotency_key,
        )
    if new:
        messenger.announce([job])
    return job


def request_nightly(engine: Engine, messenger: Messenger, *, night: str) -> Job | None:
    """Ask for the nightly features, after which training follows; None if that was done already.

    *night* is the date of the slot in UTC: whoever asks again for the same one changes nothing.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        job, new = jobs.create(
            session,
            JobKind.FEATURES,
            requested_by="beat",
            params={"days": None, "then": "train"},
            idempotency_key=f"nightly {night}",
        )
    if not new:
        return None
    messenger.announce([job])
    return job


def request_drift(engine: Engine, messenger: Messenger, *, hour: str) -> Job | None:
    """Ask for a look at the last week of traffic; None if that was asked for in this *hour*.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        job, new = jobs.create(
            session,
            JobKind.DRIFT,
            requested_by="beat",
            params={},
            idempotency_key=f"drift {hour}",
        )
    if not new:
        return None
    messenger.announce([job])
    return job


def follow_with_training(session: Session, *, idempotency_key: str) -> Job | None:
    """In the transaction that ends the nightly features: ask for training, or record why not.

    Gives the job to announce once the transaction is committed.
    """
    try:
        job, new = jobs.create(
            session,
            JobKind.TRAIN,
            requested_by="beat",
            params={"limit": None, "deploy": "gate", "only_if_new": True},
            idempotency_key=idempotency_key,
        )
    except AlreadyRunning as running:
        jobs.create_skipped(
            session,
            JobKind.TRAIN,
            requested_by="beat",
            reason=str(running),
            idempotency_key=idempotency_key,
        )
        return None
    return job if new else None
