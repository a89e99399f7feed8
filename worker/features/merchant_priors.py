"""Merchant priors: the label that most users give a merchant, for users without one there."""

from __future__ import annotations

from sqlalchemy import Engine, text

from shared.db.engine import transaction

# Each user has one vote per merchant: their most frequent label. Transactions without a user are
# left out, since they may be of one user or of many.
_COUNT = text(
    """
    INSERT INTO merchant_priors (merchant, label, users, of_users)
    SELECT merchant, label, users, of_users FROM (
        SELECT merchant, label, count(*) AS users,
            sum(count(*)) OVER (PARTITION BY merchant) AS of_users
        FROM (
            SELECT DISTINCT ON (f.user_id, f.merchant) f.merchant, l.label
            FROM ml_features AS f JOIN transaction_labels AS l ON l.txn_id = f.txn_id
            WHERE f.user_id <> '' AND f.merchant <> '' AND l.source <> 'rule'
            GROUP BY f.user_id, f.merchant, l.label
            ORDER BY f.user_id, f.merchant, count(*) DESC, l.label
        ) AS votes
        GROUP BY merchant, label
    ) AS counted
    WHERE users >= :min_users
    """
)


def refresh(engine: Engine, min_users: int) -> None:
    """Replace all priors in one database transaction.

    Args:
        min_users: who must agree: the labels of fewer people stay private.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        session.execute(text("DELETE FROM merchant_priors"))
        session.execute(_COUNT, {"min_users": min_users})
