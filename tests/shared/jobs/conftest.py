"""An empty Redis and a publisher."""

from __future__ import annotations

import pytest
from redis import Redis

from shared.jobs.publisher import JobPublisher


@pytest.fixture
def redis(redis_url):
    client = Redis.from_url(redis_url)
    client.flushall()
    return client


@pytest.fixture
def publisher(engine):
    publisher = JobPublisher(engine)
    yield publisher
    publisher.close()
