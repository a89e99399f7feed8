"""Celery's configuration: broker, queues, limits, schedule.

A message carries a job's id and nothing else; the job's row in PostgreSQL is the truth. So a lost,
repeated or late message does no harm, none is acknowledged, and there is no result backend: the job
of a killed worker is taken back when its lease expires.
"""

from __future__ import annotations

from celery.schedules import crontab
from kombu.entity import Queue

from shared.jobs.store import QUEUES
from shared.settings import process_settings

broker_url = process_settings().redis_url
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# Nothing may wait for ever for a broker that is down or frozen.
broker_transport_options = {
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "health_check_interval": 2,
    "max_retries": 1,
    "interval_start": 0.1,
    "interval_max": 0.2,
    "connect_retries_timeout": 1,
    "visibility_timeout": 3600,
}

accept_content = ["json"]
task_serializer = "json"
task_ignore_result = True
task_store_errors_even_if_ignored = False
task_acks_late = False
task_default_queue = "features"
# Without acknowledgements: after one that fails on a dead connection, its message would count as
# being worked on for ever, and the worker would take no other.
task_queues = [Queue(name, no_ack=True) for name in QUEUES]  # type: ignore[no-untyped-call]
worker_prefetch_multiplier = 1
worker_disable_prefetch = True
worker_send_task_events = True
worker_hijack_root_logger = False
worker_max_tasks_per_child = 200
# Seconds that a job may go on after SIGTERM; then worker.app ends the process.
worker_soft_shutdown_timeout = 10.0

timezone = "UTC"
enable_utc = True
beat_scheduler = "worker.execution.beat_scheduler:Scheduler"
beat_schedule = {
    "nightly": {
        "task": "ledger.nightly",
        "schedule": crontab(minute="23", hour="3"),
        "options": {"queue": "features", "expires": 6 * 3600},
    },
    "watch": {
        "task": "ledger.watch",
        "schedule": crontab(minute="53"),
        "options": {"queue": "features", "expires": 1800},
    },
    "guard": {
        "task": "ledger.guard",
        "schedule": 60.0,
        "options": {"queue": "features", "expires": 55},
    },
    # A late probe proves nothing, and must not pile up behind a long job.
    **{
        f"probe-{queue}": {
            "task": "ledger.probe",
            "schedule": 30.0,
            "args": [queue],
            "options": {"queue": queue, "expires": 25},
        }
        for queue in QUEUES
    },
}
