"""The Celery application: the tasks, and job recovery in the main process of every worker.

celery -A worker.app worker -Q features
celery -A worker.app beat
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from celery.signals import setup_logging, worker_init, worker_ready, worker_shutting_down

from shared import log
from shared.jobs.broker import celery
from shared.settings import process_settings
from worker import tasks
from worker.execution.recovery import JobRecovery
from worker.execution.redis_reconnect import DropLostCallbacks

__all__ = ["app", "tasks"]

app = celery
_stop = threading.Event()


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    log.configure(process_settings().log_level)


@worker_init.connect
def _turn_off_gossip(sender: Any, **_: Any) -> None:
    """Turn gossip off: nothing needs it, and it leaks two sockets at each loss of Redis.

    Closing its channel first deletes its queue in Redis, and that is not retried (celery 5.7, kombu
    5.7). Done here and not by `--without-gossip`, so that it holds for every worker.
    """
    sender.options["without_gossip"] = True


app.steps["consumer"].add(DropLostCallbacks)


@worker_ready.connect
def _start_recovery(**_: Any) -> None:
    recovery = JobRecovery(process_settings())
    threading.Thread(target=recovery.run, args=(_stop,), name="recovery", daemon=True).start()


@worker_shutting_down.connect
def _begin_shutdown(**_: Any) -> None:
    _stop.set()
    threading.Thread(target=_exit_after_grace, name="shutdown", daemon=True).start()


def _exit_after_grace() -> None:
    """End this process and its pool when the time of the soft shutdown is over.

    After SIGTERM Celery waits for running jobs without a limit, and its soft shutdown (5.7) ends
    them and then waits for their results. Another worker takes over what is cut short here.
    """
    time.sleep(app.conf.worker_soft_shutdown_timeout)
    log.get_logger().warning("worker.cut_its_jobs_short")
    os._exit(0)
