"""Counts what users call a merchant, for those who have never labelled one there."""

from __future__ import annotations

from sqlalchemy import Engine, text

from shared.db.engine import transaction

MIN_USERS = 3  # who agree; what one or two people call a merchant is nobody else's business

# Each user has one voice for a merchant: the label he gave it most often. Users nobody names are
# left out, since they may be one or many.
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
        ) AS voices
        GROUP BY merchant, label
    ) AS counted
    WHERE users >= :least
    """
)


def refresh(engine: Engine) -> int:
    """Count anew, in one step for all who read; give how many there are.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(engine) as session:
        session.execute(text("DELETE FROM merchant_priors"))
        kept = session.execute(_COUNT, {"least": MIN_USERS})
        return int(kept.rowcount)  # type: ignore[attr-defined]  # of an INSERT it has one
