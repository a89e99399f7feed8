"""What is pending is cut into ranges, and limited to the scope of a build."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from sqlalchemy import insert, text

from shared.db.tables import Transaction
from tests.support.factories import add_transactions
from worker.features import pending
from worker.features.build import build_pending
from worker.features.pending import Scope

pytestmark = pytest.mark.usefixtures("clean")


def test_a_build_of_some_days_leaves_older_transactions_alone(engine):
    """`days` counts back from today."""
    today = dt.datetime.now(dt.UTC).date()
    with engine.begin() as connection:
        connection.execute(
            insert(Transaction),
            [{"date": today - dt.timedelta(days=age), "amount": -1} for age in (0, 30, 31)],
        )

    report = build_pending(engine, pending.last_days(30))

    assert (report.built, report.unchanged) == (2, 0)


def test_ranges_cover_each_pending_transaction_once(engine):
    """Each has *size* pending rows but the last, and none overlap."""
    ids = add_transactions(engine, 95)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM transactions WHERE id % 3 = 0"))
    left = [txn_id for txn_id in ids if txn_id % 3]

    ranges = pending.pending_ranges(engine, Scope(), size=10)

    covered = [txn_id for part in ranges for txn_id in left if part.low <= txn_id < part.high]
    assert covered == left
    assert [part.rows for part in ranges[:-1]] == [10] * (len(ranges) - 1)
    assert all(a.high <= b.low for a, b in itertools.pairwise(ranges))
