"""Messages that were lost or never sent are sent again."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from shared.db.engine import transaction
from shared.db.tables import JobKind
from shared.jobs import broker
from shared.jobs import store as job_store

pytestmark = pytest.mark.usefixtures("clean")


def test_unsent_message_is_sent_by_the_next_recovery(engine, redis):
    """The row waits as long as it takes."""
    with transaction(engine) as session:
        job_store.create(session, JobKind.TRAIN, requested_by="test")
        session.execute(text("UPDATE jobs SET created_at = now() - interval '1 min'"))

    assert broker.resend(engine, redis) == 1
    assert broker.resend(engine, redis) == 0
    assert redis.llen("training") == 1
