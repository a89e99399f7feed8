"""Pending transactions: those without features of their present content by the present code."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from sqlalchemy import Engine, text

from shared.features.extract import FEATURE_VERSION

RANGE_ROWS = 25_000


class Scope(NamedTuple):
    """The transactions of a build: all, those from a day on, or those with a label only."""

    since: dt.date | None = None
    labelled: bool = False

    @property
    def sql(self) -> str:
        """Conditions on the transaction `t`; a date's own text needs no quoting."""
        conditions = ["t.deleted_at IS NULL"]
        if self.since:
            conditions.append(f"t.date >= '{self.since.isoformat()}'")
        if self.labelled:
            conditions.append("EXISTS (SELECT FROM transaction_labels AS l WHERE l.txn_id = t.id)")
        return " AND ".join(conditions)

    @property
    def pending(self) -> str:
        """The FROM and WHERE of the pending transactions in scope."""
        return f"""FROM transactions AS t WHERE {self.sql} AND NOT EXISTS (
            SELECT FROM ml_features AS f WHERE f.txn_id = t.id
            AND f.content_hash = t.content_hash AND f.feature_version = {FEATURE_VERSION})"""


class IdRange(NamedTuple):
    """Transactions with low <= id < high, of which `rows` were pending when it was cut."""

    low: int
    high: int
    rows: int


def last_days(days: int | None) -> Scope:
    """The last *days*, counted back from today (UTC); None means all."""
    if days is None:
        return Scope()
    return Scope(since=dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days))


def pending_ranges(engine: Engine, scope: Scope, *, size: int = RANGE_ROWS) -> list[IdRange]:
    """Cut what is pending into ranges of ids with *size* pending rows each; none overlap."""
    statement = text(
        "SELECT min(id), max(id) + 1, count(*) FROM ("
        f"SELECT t.id, (row_number() OVER (ORDER BY t.id) - 1) / :size AS part {scope.pending}"
        ") AS pending GROUP BY part ORDER BY part"
    )
    with engine.connect() as connection:
        return [IdRange(*row) for row in connection.execute(statement, {"size": size})]


def count(engine: Engine, scope: Scope) -> int:
    """How many transactions are in scope, pending or not."""
    statement = text(f"SELECT count(*) FROM transactions AS t WHERE {scope.sql}")
    with engine.connect() as connection:
        return connection.scalar(statement) or 0


def remove_deleted(engine: Engine) -> int:
    """Remove the features of softly deleted transactions; give how many were removed."""
    statement = text(
        "DELETE FROM ml_features AS f USING transactions AS t "
        "WHERE t.id = f.txn_id AND t.deleted_at IS NOT NULL"
    )
    with engine.begin() as connection:
        return connection.execute(statement).rowcount
