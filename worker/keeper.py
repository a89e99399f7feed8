"""The keeper: takes back the jobs of dead workers, and sends again the messages that were lost.

And it has a worker end that holds too much. Celery keeps two sockets of each connection to Redis
that it lost (5.7, kombu 5.7); whoever looks after the worker starts it anew.
"""

from __future__ import annotations

import gc
import os
import signal
import threading

from redis import Redis
from sqlalchemy.exc import SQLAlchemyError

from shared import jobs, queue
from shared.db import make_engine, transaction
from shared.errors import Unavailable
from shared.log import get_logger
from shared.settings import Settings

EVERY_S = 3.0
FILES_MAX = 300  # open at once; a worker has some 40, and 1,024 are usual as the limit
AGAIN_S = 1.0  # after a round that failed: each dead connection is found by one
log = get_logger()


class Keeper:
    """Runs in each worker's main process; several at once share the work without harm."""

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(settings.database_url, pool_size=1, application="ledger keeper")
        self._broker = Redis.from_url(
            settings.redis_url, socket_timeout=2, socket_connect_timeout=1
        )

    def keep(self, stop: threading.Event) -> None:
        """Tidy up every few seconds until told to stop; nothing that is down ends it."""
        pause = EVERY_S
        while not stop.wait(pause):
            if (held := _open_files()) > FILES_MAX:
                log.warning("keeper.ends_the_worker", open_files=held)
                os.kill(
                    os.getpid(), signal.SIGTERM
                )  # as from outside: jobs are ended or given back
                return
            try:
                self.tidy()
                if pause != EVERY_S:
                    gc.collect()  # Celery's dead connections hold each other, and their sockets
                pause = EVERY_S
            except (Unavailable, SQLAlchemyError, *queue.BROKER_ERRORS) as error:
                pause = AGAIN_S
                log.warning("keeper.waits", error=type(error).__name__)

    def tidy(self) -> None:
        """One round.

        Raises:
            Unavailable: PostgreSQL does not answer.
            RedisError, KombuError: the broker does not.
        """
        with transaction(self._engine) as session:
            taken_back = jobs.sweep(session)
        if taken_back:
            log.warning("keeper.took_back", **taken_back)
        sent = queue.resend(self._engine, self._broker)
        if sent:
            log.info("keeper.sent_again", messages=sent)


def _open_files() -> int:
    """How many this process has; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
