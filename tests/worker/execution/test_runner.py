"""What becomes of a claimed job, however its work ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text, update

from shared.db.engine import transaction
from shared.db.tables import Job, JobKind, JobState
from shared.errors import TrainingFailed
from shared.jobs import store as job_store
from shared.jobs.publisher import JobPublisher
from shared.jobs.store import Claim
from worker.execution.lease import Lease
from worker.execution.runner import Outcome, Retryable, run

pytestmark = pytest.mark.usefixtures("clean")


@dataclass
class Holdings:
    """What a worker process holds, as far as the running of a job needs it."""

    engine: Engine
    publisher: JobPublisher


@pytest.fixture
def holdings(engine):
    publisher = JobPublisher(engine)
    yield Holdings(engine, publisher)
    publisher.close()


def ended(holdings: Holdings, work: Callable[..., Outcome], **wishes: object) -> Job:
    """The row of a job after this work was done for it."""
    with transaction(holdings.engine) as session:
        job, _ = job_store.create(session, JobKind.FEATURES, requested_by="test", **wishes)  # type: ignore[arg-type]
        claim = job_store.claim(session, job.id)
    assert claim is not None
    run(holdings, claim, work)  # type: ignore[arg-type]
    with transaction(holdings.engine) as session:
        return job_store.get(session, claim.job_id)


def test_finished_work_ends_succeeded_with_its_result(holdings):
    """Results of the work and of its settling stand side by side."""
    job = ended(holdings, lambda *_: Outcome({"built": 3}, lambda: {"deployed": True}))

    assert job.state is JobState.SUCCEEDED
    assert job.result == {"built": 3, "deployed": True}
    assert job.finished_at is not None


def test_ledger_error_ends_the_job_failed_with_its_code_and_fields(holdings):
    """The reason reaches the person who asked."""

    def fails(*_: object) -> Outcome:
        raise TrainingFailed("ran too long", seconds=7)

    job = ended(holdings, fails)

    assert job.state is JobState.FAILED
    assert job.error == {"code": "training_failed", "message": "ran too long", "seconds": 7}


def test_a_bug_ends_failed_without_quoting_the_data(holdings):
    """An unforeseen error's message can carry a merchant's name; the row does not."""

    def breaks(*_: object) -> Outcome:
        raise ValueError("DR SMITH ONCOLOGY")

    job = ended(holdings, breaks)

    assert job.state is JobState.FAILED
    assert "SMITH" not in str(job.error)


def test_killed_work_is_queued_again_then_fails(holdings):
    """Each attempt counts, and the last one is final."""

    def killed(*_: object) -> Outcome:
        raise Retryable("the training process was killed (signal 9)")

    job = ended(holdings, killed)
    assert job.state is JobState.QUEUED

    for _ in range(2):
        with transaction(holdings.engine) as session:
            claim = job_store.claim(session, job.id)
        assert claim is not None
        run(holdings, claim, killed)

    with transaction(holdings.engine) as session:
        last = job_store.get(session, job.id)
    assert last.state is JobState.FAILED
    assert last.error is not None
    assert "killed (signal 9); attempt 3 of 3" in last.error["message"]


def test_cancelled_work_ends_cancelled_at_its_next_step(holdings):
    """The lease's thread hears of it; the work learns at its next report."""

    def goes_on_until_told(holdings: Holdings, claim: Claim, lease: Lease) -> Outcome:
        with transaction(holdings.engine) as session:
            job_store.cancel(session, claim.job_id)
        lease.wait(60)
        lease.report("build", 1, 2)
        return Outcome({"cancel": "not heard"})

    job = ended(holdings, goes_on_until_told)

    assert job.state is JobState.CANCELLED


def test_a_cancel_that_comes_as_the_work_ends_still_counts(holdings):
    """Nothing is settled that nobody wants any more."""
    settled = threading.Event()

    def cancelled_at_the_end(holdings: Holdings, claim: Claim, lease: Lease) -> Outcome:
        with transaction(holdings.engine) as session:
            job_store.cancel(session, claim.job_id)
        return Outcome({}, lambda: settled.set() or {})

    job = ended(holdings, cancelled_at_the_end)

    assert job.state is JobState.CANCELLED
    assert not settled.is_set()


def test_work_that_lost_the_database_is_queued_again(holdings):
    """A restart of PostgreSQL in the middle is no failure of the job."""

    def cut_off(holdings: Holdings, *_: object) -> Outcome:
        with holdings.engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return Outcome({})

    job = ended(holdings, cut_off)

    assert job.state is JobState.QUEUED
    assert job.attempt == 1


def test_worker_without_its_lease_does_not_end_the_job(holdings):
    """A stale trainer cannot publish."""
    settled = threading.Event()

    def taken_over(holdings: Holdings, claim: Claim, lease: Lease) -> Outcome:
        with transaction(holdings.engine) as session:
            session.execute(update(Job).values(token="another", attempt=2))
        return Outcome({"stale": True}, lambda: settled.set() or {})

    job = ended(holdings, taken_over)

    assert not settled.is_set()
    assert job.state is JobState.RUNNING
    assert job.result is None


def test_error_while_ending_a_job_ends_it_failed(holdings):
    """A version that cannot be deployed is a failed run, told as such."""

    def damaged() -> dict[str, object]:
        raise TrainingFailed("the version is damaged")

    job = ended(holdings, lambda *_: Outcome({"run_id": "x"}, damaged))

    assert job.state is JobState.FAILED
    assert job.error == {"code": "training_failed", "message": "the version is damaged"}


def test_the_nightly_features_are_followed_by_training_once(holdings):
    """In the very transaction that ends them, so that neither is ever without the other."""
    ended(holdings, lambda *_: Outcome({}), params={"then": "train"})

    with transaction(holdings.engine) as session:
        found = job_store.list_newest(session, limit=5, kind=JobKind.TRAIN)
    assert [(job.state, job.params["only_if_new"]) for job in found] == [(JobState.QUEUED, True)]


def test_nightly_training_beside_a_running_one_is_recorded_as_skipped(holdings):
    """One training runs at a time; the night's is not lost without a word."""
    with transaction(holdings.engine) as session:
        running, _ = job_store.create(session, JobKind.TRAIN, requested_by="a person")

    ended(holdings, lambda *_: Outcome({}), params={"then": "train"})

    with transaction(holdings.engine) as session:
        found = job_store.list_newest(session, limit=5, kind=JobKind.TRAIN)
    skipped = next(job for job in found if job.id != running.id)
    assert skipped.state is JobState.SUCCEEDED
    assert skipped.result == {"skipped": True, "reason": f"Job {running.id} is queued"}


def test_progress_is_in_the_row_while_work_goes_on(holdings):
    """Whoever polls sees the phase and the rows done."""
    seen: list[tuple[str | None, int, int]] = []

    def slow(holdings: Holdings, claim: Claim, lease: Lease) -> Outcome:
        lease.report("build", 5, 10)
        lease.renew()
        with holdings.engine.connect() as connection:
            row = connection.execute(text("SELECT phase, done, total FROM jobs")).one()
        seen.append((row.phase, row.done, row.total))
        return Outcome({})

    ended(holdings, slow)

    assert seen == [("build", 5, 10)]
