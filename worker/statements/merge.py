"""The statements that merge an imported file: from a temporary table into the real ones."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TypedDict

import psycopg2
from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from shared.db import labels, locks
from shared.db.tables import TRANSACTION_CONTENT, Transaction

_TYPES = {
    "external_id": "text",
    **{name: str(Transaction.__table__.c[name].type) for name in TRANSACTION_CONTENT},
    "label": "text",
}
# What derived ids are made of. A column that is new must not change the ids of old rows.
_HASHED = ("account", "date", "amount", "currency", "merchant", "description")
_SESSION = """
    SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10min';
    SET LOCAL work_mem = '64MB'; SET LOCAL jit = off
"""


class Counts(TypedDict):
    """What a merge did, in rows."""

    inserted: int
    updated: int
    unchanged: int
    labels_inserted: int
    labels_updated: int
    labels_unchanged: int
    labels_kept: int


class Merge:
    """One import's statements, in order: prepare, take each piece, settle, refused, run.

    A piece's new transactions are inserted as soon as it is there, while the next one is being
    read; what is there already is compared at the end, over all pieces at once.
    """

    def __init__(self, *, columns: Sequence[str], user: str | None) -> None:
        self._columns = columns
        self._user = user
        self._own = "external_id" in columns
        self._only_new = self._own  # so far; derived ids come in one piece, too much to redo
        self._labelled = "label" in columns
        self._stored = [name for name in columns if name not in ("external_id", "label")]
        self._taken = self._inserted = self._labels = 0

    def prepare(self, connection: Connection) -> None:
        """Make the temporary tables: for one piece, for all of them, for rows that are refused."""
        connection.execute(text(_SESSION))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.IMPORT})
        columns = ", ".join(f"{name} {_TYPES[name]}" for name in self._columns)
        for table in (f"piece (line bigint, {columns})", f"incoming (line bigint, {columns})",
                      "refused (line bigint, reason text)"):  # fmt: skip
            connection.execute(text(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP"))

    def copy(self, connection: Connection, rows: bytes) -> None:
        """Store some rows, given in COPY's text form, UTF-8; insert those with ids that are new."""
        columns = ", ".join(self._columns)
        table = "piece" if self._own else "incoming"
        copy = f"COPY {table} (line, {columns}) FROM STDIN (ENCODING 'UTF8')"
        self._taken += _copy(connection, copy, rows)
        if self._own:
            self._insert(connection, "piece")
            connection.execute(text("INSERT INTO incoming SELECT * FROM piece; TRUNCATE piece"))

    def resolve_ids(self, connection: Connection) -> int:
        """Give each row its id and take out those that cannot be merged; how many those are."""
        if not self._own:
            self._derive_ids(connection)
            self._insert(connection, "incoming")
        if self._inserted == self._taken:
            return 0  # every id was new, and so none is there twice or is another user's
        connection.execute(text("ANALYZE incoming (external_id, line)"))
        refused = connection.execute(text(_REPEATED)).rowcount if self._own else 0
        refused += connection.execute(text(_FOREIGN), {"user": self._user}).rowcount
        self._taken -= refused
        return refused

    def refused_rows(self, connection: Connection) -> Iterator[tuple[int, str]]:
        """The rows that were taken out, in the file's order, with the reason."""
        result = connection.execute(
            text("SELECT line, reason FROM refused ORDER BY line"),
            execution_options={"yield_per": 1000},
        )
        yield from ((line, reason) for line, reason in result)

    def run(self, connection: Connection) -> Counts:
        """Update the transactions that differ, then the labels of those that were there."""
        user = {"user": self._user}
        updated = labels = changed = kept = 0
        if self._inserted < self._taken:
            updated = connection.execute(text(self._update()), user).rowcount
        if self._labelled:
            labels = connection.scalar(text("SELECT count(label) FROM incoming")) or 0
        new = self._labels
        if labels > new:
            more, changed, kept = connection.execute(text(_LABELS), user).one()
            new += more
        return Counts(
            inserted=self._inserted,
            updated=updated,
            unchanged=self._taken - self._inserted - updated,
            labels_inserted=new,
            labels_updated=changed,
            labels_kept=kept,
            labels_unchanged=labels - new - changed - kept,
        )

    def row_ids(self, connection: Connection) -> Iterator[tuple[int, int]]:
        """The line of each row that was taken and the id of its transaction, in order."""
        result = connection.execute(
            text(
                "SELECT i.line, t.id FROM incoming AS i JOIN transactions AS t USING (external_id) "
                "ORDER BY i.line"
            ),
            execution_options={"yield_per": 1000},
        )
        yield from ((line, txn_id) for line, txn_id in result)

    def _derive_ids(self, connection: Connection) -> None:
        """Ids of the rows' contents, numbered among equals: two equal coffees a day are two."""
        parts = " || E'\\x1f' || ".join(
            f"coalesce({name}::text, '')" for name in _HASHED if name in self._columns
        )
        connection.execute(text("ALTER TABLE incoming RENAME TO raw_incoming"))
        connection.execute(
            text(
                f"""
                CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS
                SELECT *, 'row-' || content || '-' ||
                    row_number() OVER (PARTITION BY content ORDER BY line) AS external_id
                FROM (
                    SELECT *, md5(coalesce(:user, '') || E'\\x1f' || {parts}) AS content
                    FROM raw_incoming
                ) AS hashed
                """  # noqa: S608  names of our own
            ),
            {"user": self._user},
        )
        connection.execute(text("DROP TABLE raw_incoming"))

    def _update(self) -> str:
        """Transactions that are there already and differ."""
        names = ", ".join(self._stored)
        given = ", ".join(map(_given, self._stored))
        known = ", ".join(f"t.{name}" for name in self._stored)
        return f"""
            UPDATE transactions AS t SET ({names}) = ROW ({given}) FROM incoming AS i
            WHERE t.external_id = i.external_id AND t.user_id IS NOT DISTINCT FROM :user
            AND ({given}) IS DISTINCT FROM ({known})
        """  # noqa: S608  names of our own

    def _insert(self, connection: Connection, table: str) -> None:
        """New transactions, and their labels at once: nobody else can see these rows yet.

        ON CONFLICT costs a seventh of a first import's rate, so it waits for the first id that
        is there already.
        """
        if self._only_new:
            try:
                with connection.begin_nested():
                    self._insert_from(connection, table, "")
                return
            except IntegrityError as error:
                if not isinstance(error.orig, UniqueViolation):
                    raise
                self._only_new = False
        self._insert_from(connection, table, "ON CONFLICT (external_id) DO NOTHING")

    def _insert_from(self, connection: Connection, table: str, on_conflict: str) -> None:
        names = ", ".join(self._stored)
        given = ", ".join(map(_given, self._stored))
        labels = f"""
            INSERT INTO transaction_labels (txn_id, label, source)
            SELECT DISTINCT ON (m.id) m.id, i.label, 'import'
            FROM merged AS m JOIN {table} AS i USING (external_id)
            WHERE i.label IS NOT NULL ORDER BY m.id, i.line
            RETURNING 1
        """  # noqa: S608  names of our own
        statement = f"""
            WITH merged AS (
                INSERT INTO transactions (external_id, user_id, {names})
                SELECT i.external_id, :user, {given} FROM {table} AS i ORDER BY i.line
                {on_conflict}
                RETURNING id, external_id
            ), labelled AS ({labels if self._labelled else "SELECT 1 WHERE false"})
            SELECT count(*), (SELECT count(*) FROM labelled) FROM merged
        """  # noqa: S608  names of our own
        inserted, labelled = connection.execute(text(statement), {"user": self._user}).one()
        self._inserted += inserted
        self._labels += labelled


def _copy(connection: Connection, statement: str, rows: bytes) -> int:
    try:
        cursor = connection.connection.cursor()
        cursor.copy_expert(statement, io.BytesIO(rows), size=1 << 20)
        return int(cursor.rowcount)
    except psycopg2.Error as error:
        lost = isinstance(error, psycopg2.OperationalError)
        raise (OperationalError if lost else DBAPIError)(statement, None, error) from error


def _given(name: str) -> str:
    return "coalesce(i.currency, '')" if name == "currency" else f"i.{name}"


_REPEATED = """
    WITH repeated AS (
        SELECT external_id, min(line) AS first FROM incoming
        GROUP BY external_id HAVING count(*) > 1
    ), gone AS (
        DELETE FROM incoming AS i USING repeated AS r
        WHERE i.external_id = r.external_id AND i.line > r.first RETURNING i.line, r.first
    )
    INSERT INTO refused SELECT line, 'duplicate id, first on line ' || first FROM gone
"""
_FOREIGN = """
    WITH gone AS (
        DELETE FROM incoming AS i USING transactions AS t
        WHERE t.external_id = i.external_id AND t.user_id IS DISTINCT FROM :user
        RETURNING i.line
    )
    INSERT INTO refused SELECT line, 'this id belongs to another user' FROM gone
"""
_NEWS = "SELECT id, label, 'import' FROM given WHERE is_news ORDER BY id"
_LABELS = f"""
    WITH given AS (
        SELECT t.id, i.label, l.source = 'human' AS kept,
            l.txn_id IS NULL OR {labels.replaces("i.label", "'import'")} AS is_news
        FROM incoming AS i JOIN transactions AS t ON t.external_id = i.external_id
        LEFT JOIN transaction_labels AS l ON l.txn_id = t.id
        WHERE i.label IS NOT NULL AND t.user_id IS NOT DISTINCT FROM :user
    ), merged AS ({labels.upsert_sql(_NEWS)})
    SELECT (SELECT count(*) FILTER (WHERE is_new) FROM merged),
        (SELECT count(*) FILTER (WHERE NOT is_new) FROM merged),
        (SELECT count(*) FROM given WHERE kept)
"""  # noqa: S608  names of our own
