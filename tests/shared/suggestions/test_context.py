"""What the database holds about the users and merchants of a suggestion."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from shared.db.tables import LabelSource, Transaction, TransactionLabel
from shared.features.extract import RawTransaction, features_of
from shared.suggestions import context
from shared.suggestions.merchant_history import LabelCount, merchant_history
from tests.support.factories import add_transactions
from worker.features import build as feature_build


def test_label_profile_uses_the_newest_labels_for_single_and_batch(
    engine: Engine, clean: None
) -> None:
    """Which hundred of many came first was up to the planner, and with hash joins it was any."""
    ids = add_transactions(engine, 600, labelled=600)
    with engine.begin() as connection:
        connection.execute(text("UPDATE transactions SET user_id = 'ada'"))
        connection.execute(
            text("UPDATE transaction_labels SET label = 'Newest' WHERE txn_id > :older"),
            {"older": ids[-context.PROFILE_ROWS - 1]},
        )
    feature_build.build_pending(engine, feature_build.Scope())

    for way in ("on", "off"):
        with Session(engine) as session:
            session.execute(text(f"SET LOCAL enable_nestloop = {way}"))
            found = context.add_label_profiles(session, context.EMPTY_CONTEXT, {"ada"})
        profile = found.profiles["ada"]
        assert [label for _, label in profile.pending] == ["Newest"] * context.PROFILE_ROWS


@pytest.mark.parametrize("seed", range(5))
def test_history_is_the_same_whether_counted_by_the_database_or_row_by_row(
    engine: Engine, clean: None, seed: int
) -> None:
    draw = random.Random(seed)
    made = [
        RawTransaction(
            merchant=draw.choice(["PayPal", "ZORBLAX"]),
            description=draw.choice([None, None, "songs", "shoes", "a hat"]),
            amount=-9.5,
            currency="EUR",
            date=dt.date(2026, 1, 1) + dt.timedelta(days=day),
            user_id=draw.choice(["ada", "bob"]),
        )
        for day in range(60)
    ]
    labels = [draw.choice(["Music", "Clothes"]) for _ in made]
    with engine.begin() as connection:
        plain = [{name: getattr(txn, name) for name in _GIVEN} for txn in made]
        ids = connection.scalars(insert(Transaction).returning(Transaction.id), plain).all()
        given = [
            {"txn_id": txn_id, "label": label, "source": LabelSource.HUMAN}
            for txn_id, label in zip(sorted(ids), labels, strict=True)
        ]
        connection.execute(insert(TransactionLabel), given)
    feature_build.build_pending(engine, feature_build.Scope())
    rows = [features_of(txn) for txn in made]

    with Session(engine) as session:
        found = context.load_context(session, rows)

    for row in rows:
        history = merchant_history(row, found.past_labels[row.user_id, row.merchant])
        assert history is not None
        same = [
            (label, it.date)
            for it, label in zip(rows, labels, strict=True)
            if (it.user_id, it.merchant) == (row.user_id, row.merchant)
            and row.norm_desc in ("", it.norm_desc)
        ]
        assert history.newest == same[-1][0]
        assert history.counts == {
            label: LabelCount(
                sum(other == label for other, _ in same),
                max(date for other, date in same if other == label),
            )
            for label, _ in same
        }


_GIVEN = ("merchant", "description", "amount", "currency", "date", "user_id")
