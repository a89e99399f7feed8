"""Deletion of a user: removes all their data."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from shared.db.tables import Deletion, Job
from shared.jobs import store as job_store

# Foreign keys delete labels, features and suggestions with their transaction, and answers with
# their suggestion.
_COUNTS = text(
    """
    SELECT count(*), count(label.txn_id), (
        SELECT count(*) FROM suggestions WHERE user_id = :user
            OR txn_id IN (SELECT id FROM transactions WHERE user_id = :user)
    ), min(transactions.created_at)
    FROM transactions LEFT JOIN transaction_labels AS label ON label.txn_id = transactions.id
    WHERE transactions.user_id = :user
    """
)
_DELETE = (
    # Without their vote, too few users may be left. The next training counts again.
    text(
        """
        DELETE FROM merchant_priors WHERE users <= :min_users AND merchant IN (
            SELECT merchant FROM ml_features WHERE user_id = :user
        )
        """
    ),
    # First: it waits for an import that is being stored, so that its rows are deleted, too.
    text("DELETE FROM imports WHERE user_id = :user"),
    text("DELETE FROM transactions WHERE user_id = :user"),
    text("DELETE FROM suggestions WHERE user_id = :user"),
    text("DELETE FROM rule_sets WHERE user_id = :user"),
    # Jobs stay in the list, without the user's name and the content of their files.
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
    """The deleted rows of a user, and since when models may have learned from them.

    `known_since` is the time of the first transaction: removed labels leave no trace.
    """

    transactions: int
    labels: int
    suggestions: int
    known_since: dt.datetime | None


def delete_user(session: Session, user_id: str, min_users: int) -> DeletionReport:
    """Delete a user's transactions, labels, features, suggestions, answers, rules and files.

    Cancels the user's open jobs. Data sent later is stored as for a new user. Merchant priors that
    rest on no more than *min_users* are removed; all are computed without them at the next
    training.
    """
    user = {"user": user_id}
    report = DeletionReport(*session.execute(_COUNTS, user).one())
    open_jobs = select(Job.id).where(
        Job.params["user_id"].astext == user_id, Job.state.in_(job_store.OPEN)
    )
    for job_id in session.scalars(open_jobs).all():
        job_store.cancel(session, job_id)
    for statement in _DELETE:
        session.execute(statement, {**user, "min_users": min_users})
    if report.known_since is not None:
        session.add(Deletion(known_since=report.known_since))
        session.flush()
    return report
