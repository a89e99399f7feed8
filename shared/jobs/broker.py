"""The message broker: Celery's app, the tasks' names, and sending the message of a job."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import KombuError
from redis import Redis, RedisError
from sqlalchemy import Engine

from shared.db.engine import transaction
from shared.db.tables import JobKind
from shared.jobs import store as job_store
from shared.jobs.store import QUEUE_OF, QUEUES

RUN_JOB = "ledger.run_job"
NIGHTLY = "ledger.nightly"
GUARD = "ledger.guard"
PROBE = "ledger.probe"
WATCH = "ledger.watch"
# What kombu and redis-py raise when the broker is down, frozen or full.
BROKER_ERRORS = (KombuError, RedisError, OSError, RuntimeError)

celery = Celery("ledger")
celery.config_from_object("celeryconfig")


def send(job_id: str, kind: JobKind) -> None:
    """Put one message into the queue of its kind.

    Raises:
        KombuError, RedisError, OSError, RuntimeError: the broker did not take it in time.
    """
    celery.send_task(RUN_JOB, args=[job_id], queue=QUEUE_OF[kind], ignore_result=True, retry=False)


def resend(engine: Engine, broker: Redis) -> int:
    """Send the messages that were lost or never sent; return how many.

    Raises:
        RedisError, KombuError: the broker does not answer.
        Unavailable: PostgreSQL does not.
    """
    count = 0
    for queue, kinds in QUEUES.items():
        empty = broker.llen(queue) == 0
        with transaction(engine) as session:
            jobs = job_store.list_unsent(session, kinds, queue_is_empty=empty)
            for job in jobs:
                send(job.id, job.kind)
            job_store.mark_sent(session, [job.id for job in jobs])
            count += len(jobs)
    return count
