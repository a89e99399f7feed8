"""The prior of a merchant is the label that most users give it."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Engine, insert, text

from shared.db.tables import LabelSource, Transaction, TransactionLabel
from worker.features import build as feature_build
from worker.features import merchant_priors


def label(engine: Engine, merchant: str, by_user: dict[str | None, list[str]]) -> None:
    """Transactions at a merchant with each user's labels, and their features."""
    with engine.begin() as connection:
        for user, labels in by_user.items():
            for name in labels:
                txn_id = connection.scalar(
                    insert(Transaction)
                    .values(merchant=merchant, amount=-5, date=dt.date(2026, 5, 5), user_id=user)
                    .returning(Transaction.id)
                )
                source = LabelSource.RULE if name == "By rule" else LabelSource.HUMAN
                connection.execute(
                    insert(TransactionLabel).values(txn_id=txn_id, label=name, source=source)
                )
    feature_build.build_pending(engine, feature_build.Scope())


def priors(engine: Engine) -> list[tuple[object, ...]]:
    merchant_priors.refresh(engine, 3)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT merchant, label, users, of_users FROM merchant_priors ORDER BY 1, 2")
        )
        return [tuple(row) for row in rows]


def test_merchant_prior_counts_each_user_once(engine: Engine, clean: None) -> None:
    label(engine, "ZORBLAX", {"a": ["Toys"], "b": ["Toys"], "c": ["Toys"], "d": ["Gifts"] * 9})

    assert priors(engine) == [("zorblax", "Toys", 3, 4)]


def test_labels_of_two_users_are_too_few_for_a_merchant_prior(engine: Engine, clean: None) -> None:
    label(engine, "ZORBLAX", {"a": ["Therapy"], "b": ["Therapy"] * 5})

    assert priors(engine) == []


def test_labels_of_rules_and_without_a_user_do_not_enter_merchant_priors(
    engine: Engine, clean: None
) -> None:
    label(engine, "ZORBLAX", {"a": ["By rule"], "b": ["By rule"], "c": ["By rule"]})
    label(engine, "QUUX", {None: ["Toys"] * 5, "a": ["Toys"], "b": ["Toys"]})

    assert priors(engine) == []


def test_a_refresh_removes_priors_without_labels(engine: Engine, clean: None) -> None:
    label(engine, "ZORBLAX", {"a": ["Toys"], "b": ["Toys"], "c": ["Toys"]})
    priors(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM transaction_labels"))

    assert priors(engine) == []
