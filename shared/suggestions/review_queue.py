"""The review queue: open suggestions in the order in which a user answers them, and bulk answers.

In the queue is the newest suggestion of each open transaction, unless it was answered.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from shared.db.open_transactions import is_open
from shared.db.tables import Action, Suggestion
from shared.errors import LedgerError
from shared.suggestions import feedback
from shared.suggestions.feedback import AnswerState

SAMPLES = 5  # transactions of a group
COUNT_MAX = 2_000  # counting more would take longer than all the rest
NAMES_MAX = 1_000  # categories, and users, to choose from
FOREVER = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)

# `s` is in the queue, as the newest suggestion of `t` until :as_of.
_PENDING = f"""
    s.answer IS NULL AND s.txn_id IS NOT NULL AND s.created_at <= :as_of
    AND {is_open("t", "s.txn_id")}
    AND NOT EXISTS (
        SELECT FROM suggestions AS later WHERE later.txn_id = s.txn_id
            AND (later.created_at, later.id) > (s.created_at, s.id) AND later.created_at <= :as_of
    )
"""
_NEWEST = """
    SELECT * FROM suggestions WHERE txn_id = t.id ORDER BY created_at DESC, id DESC LIMIT 1
"""
_FROM = "suggestions AS s JOIN transactions AS t ON t.id = s.txn_id"
# A transaction and its pending suggestion {0}.
_ITEM = """
    {0}.id AS suggestion_id, {0}.txn_id, nullif({0}.user_id, '') AS user_id, t.date,
    t.amount::float8 AS amount, t.currency, {0}.merchant, t.merchant AS raw_merchant, t.description,
    {0}.label, {0}.confidence, {0}.source, {0}.layer, {0}.alternatives, {0}.reasons,
    {0}.created_at AS suggested_at
"""
_FILTERS = """
    AND (CAST(:user_id AS text) IS NULL OR s.user_id = :user_id)
    AND (CAST(:merchant AS text) IS NULL OR s.merchant = :merchant)
"""
# A page has its order from :as_of, when the first one was made: a newer suggestion is given, but
# does not move.
_ROWS = f"""
    SELECT s.confidence AS number, s.id AS key, {_ITEM.format("shown")} FROM {_FROM}
    CROSS JOIN LATERAL ({_NEWEST}) AS shown
    WHERE {_PENDING} {_FILTERS} AND shown.answer IS NULL AND (s.confidence, s.id) > (:number, :key)
    ORDER BY s.confidence, s.id LIMIT :limit
"""  # noqa: S608  our own text
_COUNT = f"""
    SELECT count(*) FROM (SELECT FROM {_FROM} WHERE {_PENDING} {_FILTERS} LIMIT :limit) AS pending
"""  # noqa: S608
_KEY = "md5(concat_ws(E'\\x1f', s.user_id, s.merchant, s.label))"
_GROUPS = f"""
    SELECT nullif(s.user_id, '') AS user_id, s.merchant, s.label, count(*) AS rows,
        CASE WHEN min(t.currency) = max(t.currency) THEN sum(t.amount)::float8 END AS amount,
        CASE WHEN min(t.currency) = max(t.currency) THEN min(t.currency) END AS currency,
        (array_agg(s.id))[1:{SAMPLES}] AS samples, {_KEY} AS key
    FROM transactions AS t CROSS JOIN LATERAL ({_NEWEST}) AS s
    WHERE {is_open("t", "t.id")} AND s.answer IS NULL {{filters}}
    GROUP BY s.user_id, s.merchant, s.label HAVING (count(*), {_KEY}) < (:number, :key)
    ORDER BY rows DESC, key DESC LIMIT :limit
"""  # noqa: S608
_SAMPLES = f"SELECT {_ITEM.format('s')} FROM {_FROM} WHERE s.id = ANY(:ids)"  # noqa: S608
_OF_GROUP = f"""
    SELECT s.id FROM {_FROM} WHERE {_PENDING} AND s.user_id = :user AND s.merchant = :merchant
        AND s.label IS NOT DISTINCT FROM :label LIMIT :limit
"""  # noqa: S608
_SHARED_LABELS = text(
    """
    SELECT label FROM transaction_labels JOIN transactions ON transactions.id = txn_id
    GROUP BY label HAVING count(DISTINCT user_id) >= :users ORDER BY count(*) DESC LIMIT :limit
    """
)
_LABELS_OF = text(
    """
    SELECT DISTINCT label FROM transaction_labels JOIN transactions ON transactions.id = txn_id
    WHERE user_id = :user LIMIT :limit
    """
)
# The distinct values of an index's first column, one index lookup each.
_DISTINCT = """
    WITH RECURSIVE names AS (
        (SELECT {column} AS name, 1 AS number FROM {table} ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (SELECT {column} FROM {table} WHERE {column} > names.name ORDER BY 1 LIMIT 1),
            number + 1
        FROM names WHERE names.name IS NOT NULL AND number < :limit
    )
    SELECT name FROM names WHERE name <> ''
"""


class QueueGroup(NamedTuple):
    """Transactions of a user and a merchant with the same suggested label."""

    user_id: str | None
    merchant: str
    label: str | None
    rows: int
    amount: float | None  # the sum; None where there are several currencies
    currency: str | None
    samples: list[Row[Any]]


class Cursor(NamedTuple):
    """The end of a page, after which the next one begins."""

    number: float  # the confidence of a row, or the size of a group
    key: str  # among those with the same number
    as_of: dt.datetime  # when the first page was made


class QueueFilter(NamedTuple):
    """Restricts the queue; None restricts nothing."""

    user_id: str | None = None
    merchant: str | None = None  # cleaned


def by_uncertainty(
    session: Session, only: QueueFilter, limit: int, after: Cursor | None = None
) -> tuple[Sequence[Row[Any]], Cursor | None]:
    """A page of the queue, the lowest confidence first, and the next page's cursor or None."""
    begin = after or Cursor(-1.0, "", session.scalar(select(func.now())) or FOREVER)
    values = {**begin._asdict(), **only._asdict(), "limit": limit + 1}
    rows = session.execute(text(_ROWS), values).all()
    last = rows[limit - 1] if len(rows) > limit else None
    following = Cursor(last.number, last.key, begin.as_of) if last else None
    return rows[:limit], following


def by_merchant(
    session: Session, only: QueueFilter, limit: int, after: Cursor | None = None
) -> tuple[list[QueueGroup], Cursor | None]:
    """A page of groups, the largest first, and the next page's cursor or None."""
    begin = after or Cursor(float("inf"), "", FOREVER)
    filters = "AND t.user_id = :user_id " if only.user_id is not None else ""
    if only.merchant is not None:
        filters += (
            "AND t.id IN (SELECT txn_id FROM suggestions "
            "WHERE merchant = :merchant AND answer IS NULL AND txn_id IS NOT NULL) "
            "AND s.merchant = :merchant "
        )
    values = {**begin._asdict(), **only._asdict(), "limit": limit + 1}
    rows = session.execute(text(_GROUPS.format(filters=filters)), values).all()
    page = rows[:limit]
    ids = {"ids": [suggestion_id for row in page for suggestion_id in row.samples]}
    samples = {row.suggestion_id: row for row in session.execute(text(_SAMPLES), ids)}
    groups = [
        QueueGroup(
            row.user_id, row.merchant, row.label, row.rows, row.amount, row.currency,
            [samples[it] for it in row.samples if it in samples],
        )
        for row in page
    ]  # fmt: skip
    following = Cursor(page[-1].rows, page[-1].key, FOREVER) if len(rows) > limit else None
    # A group that was deleted between the two queries has no samples.
    return [group for group in groups if group.samples], following


def count_pending(session: Session, only: QueueFilter) -> int:
    """The size of the queue; COUNT_MAX stands for that many or more."""
    values = {"as_of": FOREVER, "limit": COUNT_MAX, **only._asdict()}
    return session.scalar(text(_COUNT), values) or 0


def group_items(
    session: Session, user_id: str | None, merchant: str, label: str | None, limit: int
) -> list[str]:
    """The suggestions of a group, at most *limit* of them."""
    group = {"user": user_id or "", "merchant": merchant, "label": label}
    return [*session.scalars(text(_OF_GROUP), {"as_of": FOREVER, "limit": limit, **group})]


def answer(
    session: Session,
    ids: Sequence[str],
    action: Action | None,
    label: str | None,
    *,
    only_waiting: bool = False,
) -> list[AnswerState | LedgerError]:
    """Give one answer to many suggestions; an error stands in the place of each that failed.

    Args:
        action: None to undo the newest answer of each.
        label, only_waiting: see `feedback.record`.
    """
    states: dict[str, AnswerState | LedgerError] = {}
    # By transaction, as all who write labels: two of them then wait for each other, never both.
    stored = session.scalars(
        select(Suggestion.id)
        .where(Suggestion.id.in_(ids))
        .order_by(Suggestion.txn_id, Suggestion.id)
    ).all()
    for suggestion_id in [*stored, *sorted({*ids}.difference(stored))]:
        try:
            with session.begin_nested():
                if action is None:
                    states[suggestion_id] = feedback.undo(session, suggestion_id)
                else:
                    states[suggestion_id] = feedback.record(
                        session, suggestion_id, action, label, only_waiting=only_waiting
                    )
        except LedgerError as error:
            states[suggestion_id] = error
    return [states[suggestion_id] for suggestion_id in ids]


def shared_labels(session: Session, users: int) -> list[str]:
    """The labels that so many users use, the most frequent first, at most NAMES_MAX."""
    return [*session.scalars(_SHARED_LABELS, {"users": users, "limit": NAMES_MAX})]


def labels_of(session: Session, user_id: str) -> list[str]:
    """The labels that a user uses, at most NAMES_MAX."""
    return [*session.scalars(_LABELS_OF, {"user": user_id, "limit": NAMES_MAX})]


def distinct_values(session: Session, column: str, table: str) -> list[str]:
    """The values of an indexed column, such as users or labels, at most NAMES_MAX."""
    statement = text(_DISTINCT.format(column=column, table=table))
    return [*session.scalars(statement, {"limit": NAMES_MAX})]
