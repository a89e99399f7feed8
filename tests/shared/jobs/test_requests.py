"""Requests for jobs: a row, and a message that carries its id and nothing else."""

from __future__ import annotations

import json

import pytest

from shared.jobs import broker
from shared.jobs import requests as job_requests

pytestmark = pytest.mark.usefixtures("clean")


def test_a_message_carries_the_id_of_its_job_and_nothing_else(engine, publisher, redis):
    """Whoever reads the broker, or Flower, learns nothing about anybody."""
    job = job_requests.request_features(engine, publisher, requested_by="JANE DOE", days=7)
    publisher.close()

    (raw,) = redis.lrange("features", 0, -1)
    message = json.loads(raw)
    assert message["headers"]["task"] == broker.RUN_JOB
    assert message["headers"]["argsrepr"] == f"['{job.id}']"
    assert "JANE" not in raw.decode()


def test_training_and_features_have_separate_queues(engine, publisher, redis):
    """One never starves the other."""
    job_requests.request_features(engine, publisher, requested_by="test", days=7)
    job_requests.request_training(engine, publisher, requested_by="test", limit=None, deploy="gate")
    publisher.close()

    assert (redis.llen("features"), redis.llen("training")) == (1, 1)


def test_nightly_training_requested_twice_is_one_job(engine, publisher, redis):
    """However many beats run."""
    first = job_requests.request_nightly(engine, publisher, night="2026-11-23")
    second = job_requests.request_nightly(engine, publisher, night="2026-11-23")
    next_night = job_requests.request_nightly(engine, publisher, night="2026-11-24")

    assert first is not None
    assert second is None
    assert next_night is not None
