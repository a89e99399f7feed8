"""The time-outs add up to less than the times that they keep, with room for a busy machine."""

from __future__ import annotations

from shared.db import engine
from shared.jobs import store as job_store
from tests.chaos.test_servers import ANSWER_WITHOUT_POSTGRES_S
from tests.chaos.world import BACK_S, RESUMED_S
from worker.execution import recovery


def test_waits_for_postgres_end_before_a_request_must_be_answered() -> None:
    """A request waits for a free connection, for a sign of life from it, then for a new one."""
    assert engine.FREE_S + engine.PING_S + engine.CONNECT_S <= ANSWER_WITHOUT_POSTGRES_S - 0.5


def test_lost_messages_are_sent_again_before_work_must_go_on() -> None:
    assert job_store.RESEND_AFTER_S + recovery.EVERY_S <= BACK_S - 3


def test_jobs_of_dead_workers_are_freed_before_another_must_have_them() -> None:
    assert job_store.LEASE_S + recovery.EVERY_S <= RESUMED_S - 10
