"""The review queue: which suggestions wait for a person, in which order, and his word on many.

What waits is the newest suggestion of each transaction that is there, unless somebody answered it,
or a person or an import has labelled the transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from shared.db.open_transactions import is_open
from shared.db.tables import Action, Suggestion
from shared.errors import LedgerError
from shared.suggestions import feedback
from shared.suggestions.feedback import AnswerState

SAMPLES = 5  # transactions of a group that are shown
COUNT_MAX = 2_000  # more are not counted: that would take longer than all the rest
NAMES_MAX = 1_000  # categories, and users, to choose from
FOREVER = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)

# `s` is the newest suggestion of `t` that was made until :as_of, and waits.
_WAITS = f"""
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
_ITEM = "t.date, t.amount, t.currency, t.merchant AS raw_merchant, t.description"

# A page has its order from :as_of, when the first one was made; what is suggested anew meanwhile
# is shown, but moves nothing.
_ROWS = f"""
    SELECT s.confidence AS place, s.id AS key, {_ITEM}, shown.* FROM {_FROM}
    CROSS JOIN LATERAL ({_NEWEST}) AS shown
    WHERE {_WAITS} AND shown.answer IS NULL AND (s.confidence, s.id) > (:place, :key) {{filters}}
    ORDER BY s.confidence, s.id LIMIT :limit
"""  # noqa: S608  our own text
_LEFT = f"""
    SELECT count(*) FROM (SELECT FROM {_FROM} WHERE {_WAITS} {{filters}} LIMIT :limit) AS known
"""  # noqa: S608
_KEY = "md5(concat_ws(E'\\x1f', s.user_id, s.merchant, s.label))"
_GROUPS = f"""
    SELECT s.user_id, s.merchant, s.label, count(*) AS rows, sum(t.amount) AS amount,
        min(t.currency) AS currency, max(t.currency) AS other_currency,
        (array_agg(s.id))[1:{SAMPLES}] AS samples, {_KEY} AS key
    FROM transactions AS t CROSS JOIN LATERAL ({_NEWEST}) AS s
    WHERE {is_open("t", "t.id")} AND s.answer IS NULL {{filters}}
    GROUP BY 1, 2, 3 HAVING (count(*), {_KEY}) < (:place, :key)
    ORDER BY rows DESC, key DESC LIMIT :limit
"""  # noqa: S608
_SAMPLES = text(f"SELECT {_ITEM}, s.* FROM {_FROM} WHERE s.id = ANY(:ids)")  # noqa: S608
_OF_GROUP = text(
    f"""
    SELECT s.id FROM {_FROM} WHERE {_WAITS} AND s.user_id = :user AND s.merchant = :merchant
        AND s.label IS NOT DISTINCT FROM :label LIMIT :limit
    """  # noqa: S608
)
# The distinct values of an index's first column, by one look for each of them.
_DISTINCT = """
    WITH RECURSIVE found AS (
        (SELECT {column} AS name, 1 AS place FROM {table} ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (SELECT {column} FROM {table} WHERE {column} > found.name ORDER BY 1 LIMIT 1),
            place + 1
        FROM found WHERE found.name IS NOT NULL AND place < :limit
    )
    SELECT name FROM found WHERE name <> ''
"""


class QueueItem(NamedTuple):
    """A transaction, and the suggestion for it that waits."""

    suggestion_id: str
    txn_id: int
    user_id: str | None
    date: dt.date
    amount: float
    currency: str
    merchant: str  # cleaned
    raw_merchant: str | None
    description: str | None
    label: str | None
    confidence: float
    source: str
    layer: str
    alternatives: list[dict[str, Any]]
    reasons: list[str]
    suggested_at: dt.datetime


class QueueGroup(NamedTuple):
    """Transactions of a user and a merchant for which the same is suggested."""

    user_id: str | None
    merchant: str
    label: str | None
    rows: int
    amount: float | None  # the sum; None where there are several currencies
    currency: str | None
    samples: list[QueueItem]


class Cursor(NamedTuple):
    """Where a page ended, and when the first one was made: where the next one begins."""

    number: float  # the confidence of a row, or the size of a group
    key: str  # among those with the same number
    as_of: dt.datetime


class QueueFilter(NamedTuple):
    """Of what the queue is: None means all of them."""

    user_id: str | None = None
    merchant: str | None = None  # cleaned


def by_uncertainty(
    session: Session, whose: QueueFilter, limit: int, after: Cursor | None = None
) -> tuple[list[QueueItem], Cursor | None]:
    """Those that wait, the least sure first, and where to go on; None at the end."""
    begin = after or Cursor(-1.0, "", session.scalar(select(func.now())) or FOREVER)
    statement = text(_ROWS.format(filters=_filters(whose)))
    values = {"place": begin.number, "key": begin.key, "as_of": begin.as_of, "limit": limit + 1}
    found = session.execute(statement, {**values, **whose._asdict()}).all()
    last = found[limit - 1] if len(found) > limit else None
    following = Cursor(last.place, last.key, begin.as_of) if last else None
    return [_waiting(row) for row in found[:limit]], following


def by_merchant(
    session: Session, whose: QueueFilter, limit: int, after: Cursor | None = None
) -> tuple[list[QueueGroup], Cursor | None]:
    """Those that wait, in groups that one decision can settle, the largest first."""
    begin = after or Cursor(float("inf"), "", FOREVER)
    filters = "AND t.user_id = :user_id " if whose.user_id is not None else ""
    if whose.merchant is not None:
        filters += (
            "AND t.id IN (SELECT txn_id FROM suggestions "
            "WHERE merchant = :merchant AND answer IS NULL AND txn_id IS NOT NULL) "
            "AND s.merchant = :merchant "
        )
    statement = text(_GROUPS.format(filters=filters))
    values = {"place": begin.number, "key": begin.key, "limit": limit + 1}
    rows = session.execute(statement, {**values, **whose._asdict()}).all()
    page = rows[:limit]
    shown = _by_id(session, [it for row in page for it in row.samples])
    samples = [[shown[it] for it in row.samples if it in shown] for row in page]
    # One that was deleted between the two queries is none any more.
    groups = [_group(row, found) for row, found in zip(page, samples, strict=True) if found]
    following = Cursor(page[-1].rows, page[-1].key, FOREVER) if len(rows) > limit else None
    return groups, following


def count_pending(session: Session, whose: QueueFilter) -> int:
    """How many wait; LEFT_MAX stands for that many or more."""
    statement = text(_LEFT.format(filters=_filters(whose)))
    return session.scalar(statement, {"as_of": FOREVER, "limit": COUNT_MAX, **whose._asdict()}) or 0


def group_items(
    session: Session, user_id: str | None, merchant: str, label: str | None, limit: int
) -> list[str]:
    """The suggestions that wait in a group, at most *limit* of them."""
    whose = {"user": user_id or "", "merchant": merchant, "label": label}
    return [*session.scalars(_OF_GROUP, {"as_of": FOREVER, "limit": limit, **whose})]


def answer(
    session: Session,
    ids: Sequence[str],
    action: Action | None,
    label: str | None,
    *,
    only_waiting: bool = False,
) -> list[AnswerState | LedgerError]:
    """Give one answer to many suggestions; what could not be answered has an error in its place.

    Args:
        action: None to undo the newest answer of each.
        label: what they are instead, for CORRECT only.
        only_waiting: see `feedback.give`.
    """
    states: dict[str, AnswerState | LedgerError] = {}
    # By transaction, as all who write labels: two of them then wait for each other, never both.
    own = select(Suggestion.id).where(Suggestion.id.in_(ids))
    known = session.scalars(own.order_by(Suggestion.txn_id, Suggestion.id)).all()
    for suggestion_id in [*known, *sorted({*ids}.difference(known))]:
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


def users(session: Session) -> list[str]:
    """For whom something was suggested, at most NAMES_MAX."""
    return _distinct(session, "user_id", "suggestions")


def categories(session: Session) -> list[str]:
    """What transactions are called, at most NAMES_MAX names."""
    return _distinct(session, "label", "transaction_labels")


def _distinct(session: Session, column: str, table: str) -> list[str]:
    statement = text(_DISTINCT.format(column=column, table=table))
    return [*session.scalars(statement, {"limit": NAMES_MAX})]


def _filters(whose: QueueFilter) -> str:
    user = "AND s.user_id = :user_id " if whose.user_id is not None else ""
    return user + ("AND s.merchant = :merchant" if whose.merchant is not None else "")


def _by_id(session: Session, ids: Sequence[str]) -> dict[str, QueueItem]:
    return {row.id: _waiting(row) for row in session.execute(_SAMPLES, {"ids": [*ids]})}


def _group(row: Any, samples: list[QueueItem]) -> QueueGroup:
    one = row.currency == row.other_currency
    return QueueGroup(
        user_id=row.user_id or None,
        merchant=row.merchant,
        label=row.label,
        rows=row.rows,
        amount=float(row.amount) if one else None,
        currency=row.currency if one else None,
        samples=samples,
    )


def _waiting(row: Any) -> QueueItem:
    return QueueItem(
        suggestion_id=row.id,
        txn_id=row.txn_id,
        user_id=row.user_id or None,
        date=row.date,
        amount=float(row.amount),
        currency=row.currency,
        merchant=row.merchant,
        raw_merchant=row.raw_merchant,
        description=row.description,
        label=row.label,
        confidence=row.confidence,
        source=row.source,
        layer=row.layer,
        alternatives=row.alternatives,
        reasons=row.reasons,
        suggested_at=row.created_at,
    )
