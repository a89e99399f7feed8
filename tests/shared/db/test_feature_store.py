"""The features of stored transactions are those of what is stored now, built before or not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from shared.db import feature_store
from shared.features.extract import features_of
from tests.support.factories import add_transactions
from worker.features import build as feature_build

pytestmark = pytest.mark.usefixtures("clean")


def change(engine: Engine, statement: str, txn_id: int) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), {"id": txn_id})


def test_stored_features_are_read_and_missing_ones_computed(engine):
    ids = add_transactions(engine, 12)
    feature_build.build_pending(engine, feature_build.Scope())
    late = add_transactions(engine, 2, seed=2)
    change(engine, "UPDATE transactions SET merchant = 'Zoo' WHERE id = :id", ids[0])
    change(engine, "UPDATE transactions SET user_id = 'anna' WHERE id = :id", ids[1])
    change(
        engine, "UPDATE ml_features SET feature_version = 0, line = '' WHERE txn_id = :id", ids[2]
    )
    change(engine, "UPDATE transactions SET deleted_at = now() WHERE id = :id", ids[3])

    with Session(engine) as session:
        made = {
            it: features_of(raw)
            for it, raw in feature_store.load_raw(session, [*ids, *late]).items()
        }
        found = feature_store.load_rows(session, [*ids, *late, 10**9])

    assert found == made
    assert set(found) == {*ids, *late} - {ids[3]}
    assert found[ids[0]].merchant == "zoo"
    assert found[ids[1]].user_id == "anna"
    assert found[ids[2]].line


def test_features_of_a_similarly_spelled_user_are_not_read(engine):
    built, late = add_transactions(engine, 2)
    change(engine, "UPDATE transactions SET user_id = E'Anna\u00a0Maria' WHERE id = :id", built)
    feature_build.build_pending(engine, feature_build.Scope())
    change(engine, "UPDATE transactions SET user_id = E'Anna\u00a0Maria' WHERE id = :id", late)

    with Session(engine) as session:
        found = [
            set(feature_store.load_rows(session, [built, late], name))
            for name in ("Anna\u00a0Maria", "Anna Maria", "")
        ]

    assert found == [{built, late}, set(), set()]


def test_loading_features_takes_one_query_and_one_more_for_missing_ones(engine):
    ids = add_transactions(engine, 50)
    queries: list[str] = []

    def record(*event_args: Any) -> None:
        queries.append(event_args[2])

    def count_queries() -> int:
        queries.clear()
        with Session(engine) as session:
            feature_store.load_rows(session, ids)
        return len(queries)

    event.listen(engine, "before_cursor_execute", record)
    try:
        assert count_queries() == 2
        feature_build.build_pending(engine, feature_build.Scope())
        assert count_queries() == 1
    finally:
        event.remove(engine, "before_cursor_execute", record)
