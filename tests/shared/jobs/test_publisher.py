"""The publisher sends the messages of new jobs."""

from __future__ import annotations

import pytest

from shared.db.engine import transaction
from shared.jobs import requests as job_requests
from shared.jobs import store as job_store

pytestmark = pytest.mark.usefixtures("clean")


def test_the_time_of_sending_is_stored_with_the_job(engine, publisher, redis):
    """So that it is not sent again while it waits its turn."""
    job = job_requests.request_features(engine, publisher, requested_by="test", days=7)
    publisher.close()

    with transaction(engine) as session:
        assert job_store.get(session, job.id).sent_at is not None
