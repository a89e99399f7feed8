"""Takes everything away that is known of a user."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from shared.db.tables import Deletion, Job
from shared.jobs import store as job_store

# Labels, features and suggestions of a transaction go with it; answers go with their suggestion.
_COUNTS = text(
    """
    SELECT count(*), count(label.txn_id), min(transactions.created_at)
    FROM transactions LEFT JOIN transaction_labels AS label ON label.txn_id = transactions.id
    WHERE transactions.user_id = :user
    """
)
_SUGGESTED = text(
    """
    SELECT count(*) FROM suggestions WHERE user_id = :user
        OR txn_id IN (SELECT id FROM transactions WHERE user_id = :user)
    """
)
_TAKE = (
    # First: it waits for an import that is just being stored, whose rows then go, too.
    text("DELETE FROM imports WHERE user_id = :user"),
    text("DELETE FROM transactions WHERE user_id = :user"),
    text("DELETE FROM suggestions WHERE user_id = :user"),
    text("DELETE FROM rule_sets WHERE user_id = :user"),
    # What was asked for stays in the list of jobs, without his name and what his file held.
    text(
        """
        UPDATE jobs SET idempotency_key = NULL, params = jsonb_set(params, '{user_id}', '""'),
            result = CASE jsonb_typeof(result)
                WHEN 'object' THEN result - 'rejects' - 'detected' ELSE result END,
            error = CASE WHEN kind = 'import' AND jsonb_typeof(error) = 'object'
                THEN jsonb_set(error, '{message}', '"Its user was deleted"') ELSE error END
        WHERE params->>'user_id' = :user
        """
    ),
)


class DeletionReport(NamedTuple):
    """What there was of a user, and since when models may have learned from him.

    That is since his first transaction: labels come and go, and leave no trace where a rule made
    them, and what traffic looks like is counted of all.
    """

    transactions: int
    labels: int
    suggestions: int
    known_since: dt.datetime | None


def delete_user(session: Session, user_id: str) -> DeletionReport:
    """Delete a user's transactions, labels, features, suggestions, answers, rules and files.

    Jobs that are open for him alone end. What is asked about him from now on is kept anew.
    What users have in common (`merchant_priors`) is counted anew with the next training.
    """
    user = {"user": user_id}
    transactions, labels, since = session.execute(_COUNTS, user).one()
    suggestions = session.scalar(_SUGGESTED, user) or 0
    his = select(Job.id).where(
        Job.params["user_id"].astext == user_id, Job.state.in_(job_store.OPEN)
    )
    for job_id in session.scalars(his).all():
        job_store.cancel(session, job_id)
    for statement in _TAKE:
        session.execute(statement, user)
    if since is not None:
        session.add(Deletion(known_since=since))
        session.flush()
    return DeletionReport(transactions, labels, suggestions, since)
