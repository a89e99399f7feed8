"""A job is a row: asked for once, worked on by one, ended once, never lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text, update

from shared.db.engine import transaction
from shared.db.tables import Job, JobKind, JobState
from shared.errors import AlreadyRunning, Conflict, LeaseLost, NotFound
from shared.jobs import store as job_store
from shared.jobs.store import MAX_ATTEMPTS, Claim, JobProgress

pytestmark = pytest.mark.usefixtures("clean")


def request_job(engine: Engine, kind: JobKind = JobKind.TRAIN, **wishes: object) -> str:
    with transaction(engine) as session:
        job, _ = job_store.create(session, kind, requested_by="test", **wishes)  # type: ignore[arg-type]
        return job.id


def claimed(engine: Engine, job_id: str) -> Claim:
    with transaction(engine) as session:
        claim = job_store.claim(session, job_id)
    assert claim is not None
    return claim


def state(engine: Engine, job_id: str) -> JobState:
    with transaction(engine) as session:
        return job_store.get(session, job_id).state


def let_the_lease_run_out(engine: Engine, job_id: str) -> None:
    with transaction(engine) as session:
        session.execute(
            update(Job).where(Job.id == job_id).values(lease_until=text("now() - interval '1 s'"))
        )


def sweep_jobs(engine: Engine) -> dict[str, int]:
    with transaction(engine) as session:
        return job_store.sweep(session)


def run_concurrently(count: int, act: Callable[[], object]) -> list[object]:
    """What *count* threads got that all acted at the same moment; an error is given as its type."""
    start = threading.Barrier(count)
    got: list[object] = []

    def one() -> None:
        start.wait()
        try:
            got.append(act())
        except Exception as error:
            got.append(type(error))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_ten_concurrent_training_requests_create_one_job(engine):
    """However it was asked for, one training runs at a time."""
    got = run_concurrently(10, lambda: request_job(engine))

    assert got.count(AlreadyRunning) == 9
    assert sum(isinstance(answer, str) for answer in got) == 1


def test_refusal_names_the_running_job(engine):
    """409 carries the id of the run to follow instead."""
    first = request_job(engine)

    with pytest.raises(AlreadyRunning) as refusal:
        request_job(engine)

    assert refusal.value.facts == {"job_id": first}


def test_the_same_key_gives_the_same_job_even_after_it_ended(engine):
    """A request that is repeated because its answer got lost asks for nothing new."""
    first = request_job(engine, params={"limit": 5}, idempotency_key="k")
    claim = claimed(engine, first)
    with transaction(engine) as session:
        job_store.finish(session, claim, JobState.SUCCEEDED, result={})

    assert request_job(engine, params={"limit": 5}, idempotency_key="k") == first


def test_the_same_key_for_another_request_is_a_conflict(engine):
    """A key belongs to one request."""
    request_job(engine, JobKind.FEATURES, params={"days": 5}, idempotency_key="k")

    with pytest.raises(Conflict):
        request_job(engine, JobKind.FEATURES, params={"days": 6}, idempotency_key="k")


def test_ten_requests_with_one_key_at_once_are_one_job(engine):
    """Exactly once holds under a storm as well."""
    got = run_concurrently(
        10, lambda: request_job(engine, JobKind.FEATURES, idempotency_key="night")
    )

    assert len(set(got)) == 1


def test_message_delivered_many_times_is_claimed_once(engine):
    """Duplicates do nothing."""
    job = request_job(engine)

    def claim() -> Claim | None:
        with transaction(engine) as session:
            return job_store.claim(session, job)

    got = run_concurrently(8, claim)

    assert sum(isinstance(answer, Claim) for answer in got) == 1
    assert got.count(None) == 7


def test_a_job_whose_worker_died_is_queued_again(engine):
    """The lease runs out, and the sweep takes the job back."""
    job = request_job(engine)
    claimed(engine, job)

    let_the_lease_run_out(engine, job)

    assert sweep_jobs(engine) == {"queued": 1}
    assert claimed(engine, job).attempt == 2


def test_a_job_that_kills_its_worker_fails_after_three_attempts(engine):
    """A poison job ends, and says why."""
    job = request_job(engine)
    for _ in range(MAX_ATTEMPTS):
        claimed(engine, job)
        let_the_lease_run_out(engine, job)
        sweep_jobs(engine)

    with transaction(engine) as session:
        ended = job_store.get(session, job)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "worker_lost"
    assert "attempt 3 of 3" in ended.error["message"]


def test_a_frozen_worker_that_wakes_up_can_write_nothing_more(engine):
    """Its token is stale by then: neither progress nor an ending of it counts."""
    job = request_job(engine)
    frozen = claimed(engine, job)
    let_the_lease_run_out(engine, job)
    sweep_jobs(engine)
    other = claimed(engine, job)

    for act in (
        lambda session: job_store.renew(session, frozen, JobProgress("fit", 1, 2)),
        lambda session: job_store.finish(session, frozen, JobState.SUCCEEDED, result={}),
        lambda session: job_store.release(session, frozen, "woke up"),
    ):
        with pytest.raises(LeaseLost), transaction(engine) as session:
            act(session)

    assert other.attempt == 2
    assert state(engine, job) is JobState.RUNNING


def test_locked_job_is_not_recovered(engine):
    """While a worker publishes, nobody can take its job over."""
    job = request_job(engine)
    claim = claimed(engine, job)
    let_the_lease_run_out(engine, job)

    with transaction(engine) as session:
        job_store.renew(session, claim)
        assert sweep_jobs(engine) == {}


def test_cancel_ends_a_queued_job_at_once(engine):
    """Nobody works on it, so there is nothing to wait for."""
    job = request_job(engine)

    with transaction(engine) as session:
        job_store.cancel(session, job)

    assert state(engine, job) is JobState.CANCELLED
    with transaction(engine) as session:
        assert job_store.claim(session, job) is None


def test_cancel_reaches_the_worker_at_its_next_heartbeat(engine):
    """A running job goes on until its worker hears of it."""
    job = request_job(engine)
    claim = claimed(engine, job)

    with transaction(engine) as session:
        job_store.cancel(session, job)

    assert state(engine, job) is JobState.RUNNING
    with transaction(engine) as session:
        assert job_store.renew(session, claim)


def test_a_cancelled_job_of_a_dead_worker_ends_cancelled(engine):
    """The sweep does not revive what nobody wants any more."""
    job = request_job(engine)
    claimed(engine, job)
    with transaction(engine) as session:
        job_store.cancel(session, job)

    let_the_lease_run_out(engine, job)

    assert sweep_jobs(engine) == {"cancelled": 1}
    assert state(engine, job) is JobState.CANCELLED


def test_cancel_leaves_a_job_that_has_ended_as_it_is(engine):
    """History is not rewritten."""
    job = request_job(engine)
    claim = claimed(engine, job)
    with transaction(engine) as session:
        job_store.finish(session, claim, JobState.SUCCEEDED, result={"x": 1})

    with transaction(engine) as session:
        job_store.cancel(session, job)

    assert state(engine, job) is JobState.SUCCEEDED


def test_cancel_reaches_the_ranges_of_a_features_job(engine):
    """Those nobody has begun end at once; those at work are told."""
    parent = claimed(engine, request_job(engine, JobKind.FEATURES))
    with transaction(engine) as session:
        added = job_store.add_ranges(session, parent, [{"low": 1}, {"low": 2}])
    worked_on = claimed(engine, added[0].id)

    with transaction(engine) as session:
        job_store.cancel(session, parent.job_id)

    with transaction(engine) as session:
        assert job_store.renew(session, worked_on)
        assert job_store.load_ranges(session, parent.job_id).cancelled == 1


def test_unknown_job_is_not_found(engine):
    """404, not a crash."""
    with pytest.raises(NotFound), transaction(engine) as session:
        job_store.get(session, "nobody")


def test_jobs_are_listed_by_filter_newest_first(engine):
    """Ranges are parts of a job, not jobs that anybody asked for."""
    parent = claimed(engine, request_job(engine, JobKind.FEATURES))
    with transaction(engine) as session:
        job_store.add_ranges(session, parent, [{"low": 1}])
    train = request_job(engine)

    with transaction(engine) as session:
        listed = [job.id for job in job_store.list_newest(session, limit=10)]

    assert listed == [train, parent.job_id]


def test_unsent_message_is_detected(engine):
    """Redis was down when the job was asked for."""
    job = request_job(engine)
    with transaction(engine) as session:
        session.execute(update(Job).values(created_at=text("now() - interval '3 s'")))

    with transaction(engine) as session:
        found = job_store.list_unsent(session, [JobKind.TRAIN], queue_is_empty=False)

    assert [lost.id for lost in found] == [job]


@pytest.mark.parametrize(
    ("empty", "expected"), [(True, 1), (False, 0)], ids=["queue empty", "queue busy"]
)
def test_a_message_is_lost_when_it_was_sent_long_ago_and_is_not_in_the_queue(
    engine, empty, expected
):
    """A job that waits its turn behind others is not sent again and again."""
    job = request_job(engine)
    with transaction(engine) as session:
        job_store.mark_sent(session, [job])
        session.execute(update(Job).values(sent_at=text("now() - interval '1 min'")))

    with transaction(engine) as session:
        found = job_store.list_unsent(session, [JobKind.TRAIN], queue_is_empty=empty)

    assert len(found) == expected


def test_a_message_is_lost_when_a_later_one_was_taken(engine):
    """However full the queue is: it gives them in their order."""
    early, late = request_job(engine, JobKind.FEATURES), request_job(engine, JobKind.DRIFT)
    with transaction(engine) as session:
        for job, minutes in ((early, 2), (late, 1)):
            sent = text(f"now() - interval '{minutes} min'")
            session.execute(update(Job).where(Job.id == job).values(sent_at=sent))
    kinds = [JobKind.FEATURES, JobKind.DRIFT]

    with transaction(engine) as session:
        before = job_store.list_unsent(session, kinds, queue_is_empty=False)
    claimed(engine, late)
    with transaction(engine) as session:
        after = job_store.list_unsent(session, kinds, queue_is_empty=False)

    assert before == []
    assert [lost.id for lost in after] == [early]
