"""Open transactions: those that wait for a person's label."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from shared.db import labels, open_transactions
from shared.db.tables import LabelSource
from tests.support.factories import add_transactions

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def open_ids(engine: Engine) -> list[int]:
    """Of ada and bob, two each: one without a label, and one with the label of a rule."""
    ids = add_transactions(engine, 7)
    with Session(engine) as session, session.begin():
        session.execute(
            text("UPDATE transactions SET user_id = CASE WHEN id % 2 = 0 THEN 'ada' ELSE 'bob' END")
        )
        session.execute(
            text("UPDATE transactions SET deleted_at = now() WHERE id = :id"), {"id": ids[4]}
        )
        labels.put(
            session,
            {
                ids[2]: ("Food", LabelSource.RULE),
                ids[3]: ("Food", LabelSource.RULE),
                ids[5]: ("Food", LabelSource.HUMAN),
                ids[6]: ("Food", LabelSource.IMPORT),
            },
        )
    return ids[:4]


def test_deleted_transactions_and_those_labelled_by_people_or_imports_are_not_open(
    engine: Engine, open_ids: list[int]
) -> None:
    with Session(engine) as session:
        assert open_transactions.count(session, None) == 4
        found = open_transactions.next_ids(session, None, after=0, limit=10)

    assert list(found) == open_ids


def test_open_transactions_of_a_user_are_listed_in_pages(
    engine: Engine, open_ids: list[int]
) -> None:
    of_ada = [txn_id for txn_id in open_ids if txn_id % 2 == 0]

    with Session(engine) as session:
        assert open_transactions.count(session, "ada") == 2
        first = open_transactions.next_ids(session, "ada", after=0, limit=1)
        second = open_transactions.next_ids(session, "ada", after=first[-1], limit=1)
        rest = open_transactions.next_ids(session, "ada", after=second[-1], limit=1)

    assert [*first, *second, *rest] == of_ada
