"""Job recovery: requeues the jobs of dead workers and sends lost messages again."""

from __future__ import annotations

import threading

from redis import Redis
from sqlalchemy.exc import SQLAlchemyError

from shared.db.engine import make_engine, transaction
from shared.errors import Unavailable
from shared.jobs import broker
from shared.jobs import store as job_store
from shared.log import get_logger
from shared.settings import Settings

EVERY_S = 2.0
RETRY_S = 1.0  # after a failed round: each round discards one dead connection
log = get_logger()


class JobRecovery:
    """The recovery loop in the main process of every worker; several at once do no harm."""

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(
            settings.database_url, pool_size=1, application="ledger recovery"
        )
        self._broker = Redis.from_url(
            settings.redis_url, socket_timeout=2, socket_connect_timeout=1
        )

    def run(self, stop: threading.Event) -> None:
        """Run a round every EVERY_S until *stop* is set; an outage does not end it."""
        pause = EVERY_S
        while not stop.wait(pause):
            try:
                self.run_once()
                pause = EVERY_S
            except (Unavailable, SQLAlchemyError, *broker.BROKER_ERRORS) as error:
                pause = RETRY_S
                log.warning("recovery.waits", error=type(error).__name__)

    def run_once(self) -> None:
        """Requeue jobs with an expired lease, then send lost messages again.

        Raises:
            Unavailable: PostgreSQL does not answer.
            RedisError, KombuError: the broker does not.
        """
        with transaction(self._engine) as session:
            counts = job_store.sweep(session)
        if counts:
            log.warning("recovery.requeued", **counts)
        sent = broker.resend(self._engine, self._broker)
        if sent:
            log.info("recovery.sent_again", messages=sent)
