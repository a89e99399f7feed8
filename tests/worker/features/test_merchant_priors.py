"""What users call a merchant, counted for those who have not said it themselves."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Engine, insert, text

from shared.db.tables import LabelSource, Transaction, TransactionLabel
from worker.features import build as feature_build
from worker.features import merchant_priors


def told(engine: Engine, merchant: str, by_user: dict[str | None, list[str]]) -> None:
    """Each user has labelled the merchant so."""
    with engine.begin() as connection:
        for user, labels in by_user.items():
            for label in labels:
                txn_id = connection.scalar(
                    insert(Transaction)
                    .values(merchant=merchant, amount=-5, date=dt.date(2026, 5, 5), user_id=user)
                    .returning(Transaction.id)
                )
                source = LabelSource.RULE if label == "By rule" else LabelSource.HUMAN
                connection.execute(
                    insert(TransactionLabel).values(txn_id=txn_id, label=label, source=source)
                )
    feature_build.build_pending(engine, feature_build.Scope())


def counted(engine: Engine) -> list[tuple[object, ...]]:
    merchant_priors.refresh(engine)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT merchant, label, users, of_users FROM merchant_priors ORDER BY 1, 2")
        )
        return [tuple(row) for row in rows]


def test_each_user_has_one_voice(engine: Engine, clean: None) -> None:
    told(engine, "ZORBLAX", {"a": ["Toys"], "b": ["Toys"], "c": ["Toys"], "d": ["Gifts"] * 9})

    assert counted(engine) == [("zorblax", "Toys", 3, 4)]


def test_what_two_people_say_is_nobody_elses_business(engine: Engine, clean: None) -> None:
    told(engine, "ZORBLAX", {"a": ["Therapy"], "b": ["Therapy"] * 5})

    assert counted(engine) == []


def test_rules_and_users_without_a_name_have_no_voice(engine: Engine, clean: None) -> None:
    told(engine, "ZORBLAX", {"a": ["By rule"], "b": ["By rule"], "c": ["By rule"]})
    told(engine, "QUUX", {None: ["Toys"] * 5, "a": ["Toys"], "b": ["Toys"]})

    assert counted(engine) == []


def test_counting_anew_forgets_what_is_no_longer_so(engine: Engine, clean: None) -> None:
    told(engine, "ZORBLAX", {"a": ["Toys"], "b": ["Toys"], "c": ["Toys"]})
    counted(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM transaction_labels"))

    assert counted(engine) == []
