"""Messages carry an id and nothing else, and a broker that is away holds nobody up."""

from __future__ import annotations

import json

import pytest
from redis import Redis
from sqlalchemy import text

from shared.db.engine import transaction
from shared.db.tables import JobKind
from shared.jobs import broker
from shared.jobs import requests as job_requests
from shared.jobs import store as job_store
from shared.jobs.publisher import JobPublisher

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def redis(redis_url):
    client = Redis.from_url(redis_url)
    client.flushall()
    return client


@pytest.fixture
def messenger(engine):
    messenger = JobPublisher(engine)
    yield messenger
    messenger.close()


def test_a_message_carries_the_id_of_its_job_and_nothing_else(engine, messenger, redis):
    """Whoever reads the broker, or Flower, learns nothing about anybody."""
    job = job_requests.request_features(engine, messenger, requested_by="JANE DOE", days=7)
    messenger.close()

    (raw,) = redis.lrange("features", 0, -1)
    message = json.loads(raw)
    assert message["headers"]["task"] == broker.RUN_JOB
    assert message["headers"]["argsrepr"] == f"['{job.id}']"
    assert "JANE" not in raw.decode()


def test_training_and_features_have_queues_of_their_own(engine, messenger, redis):
    """One never starves the other."""
    job_requests.request_features(engine, messenger, requested_by="test", days=7)
    job_requests.request_training(engine, messenger, requested_by="test", limit=None, deploy="gate")
    messenger.close()

    assert (redis.llen("features"), redis.llen("training")) == (1, 1)


def test_a_message_that_went_out_is_noted(engine, messenger, redis):
    """So that it is not sent again while it waits its turn."""
    job = job_requests.request_features(engine, messenger, requested_by="test", days=7)
    messenger.close()

    with transaction(engine) as session:
        assert job_store.get(session, job.id).sent_at is not None


def test_what_did_not_go_out_is_sent_by_the_next_round(engine, redis):
    """The row waits as long as it takes."""
    with transaction(engine) as session:
        job_store.create(session, JobKind.TRAIN, requested_by="test")
        session.execute(text("UPDATE jobs SET created_at = now() - interval '1 min'"))

    assert broker.resend(engine, redis) == 1
    assert broker.resend(engine, redis) == 0
    assert redis.llen("training") == 1


def test_two_requests_for_one_night_are_one_job(engine, messenger, redis):
    """However many beats run."""
    first = job_requests.request_nightly(engine, messenger, night="2026-11-23")
    second = job_requests.request_nightly(engine, messenger, night="2026-11-23")
    next_night = job_requests.request_nightly(engine, messenger, night="2026-11-24")

    assert first is not None
    assert second is None
    assert next_night is not None
