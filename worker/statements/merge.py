"""The SQL that merges an imported file from a temporary table into the real ones.

A row is stored once, however often its file is imported: by the bank's id, or by an id derived from
its content.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

import psycopg2
from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, CursorResult, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from shared.db import labels, locks
from shared.db.tables import TRANSACTION_CONTENT, Transaction

_TYPES = {
    "external_id": "text",
    **{name: str(Transaction.__table__.c[name].type) for name in TRANSACTION_CONTENT},
    "label": "text",
}
# The columns of derived ids. A column that is added must not change the ids of stored rows.
_HASHED = ("account", "date", "amount", "currency", "merchant", "description")
_SESSION = """
    SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10min';
    SET LOCAL work_mem = '64MB'; SET LOCAL jit = off
"""


class Counts(TypedDict):
    """The counts of a merge, in rows."""

    inserted: int
    updated: int
    unchanged: int
    labels_inserted: int
    labels_updated: int
    labels_unchanged: int
    labels_kept: int


class Merge:
    """The SQL of one import: copy each piece, resolve the ids, run.

    A piece's new transactions are inserted at once, while the next piece is being read; those that
    are stored already are compared at the end, over all pieces.
    """

    def __init__(self, connection: Connection, *, columns: Sequence[str], user: str | None) -> None:
        """Create the temporary tables: a piece, all pieces, and refused rows."""
        self._connection = connection
        self._columns = columns
        self._user = user
        self._has_ids = "external_id" in columns
        self._only_new = self._has_ids  # until an id is met that is stored; see `_insert`
        self._has_labels = "label" in columns
        stored = [name for name in columns if name not in ("external_id", "label")]
        self._names = ", ".join(stored)
        self._values = ", ".join(
            "coalesce(i.currency, '')" if name == "currency" else f"i.{name}" for name in stored
        )
        self._copied = self._inserted = self._labels = 0
        self._execute(_SESSION)
        self._execute("SELECT pg_advisory_xact_lock(:key)", key=locks.IMPORT)
        types = ", ".join(f"{name} {_TYPES[name]}" for name in columns)
        for table in (f"piece (line bigint, {types})", f"incoming (line bigint, {types})",
                      "refused (line bigint, reason text)"):  # fmt: skip
            self._execute(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP")

    def copy(self, rows: bytes) -> None:
        """Store rows in COPY's text form, UTF-8, and insert those whose ids are new."""
        table = "piece" if self._has_ids else "incoming"
        columns = ", ".join(self._columns)
        copy = f"COPY {table} (line, {columns}) FROM STDIN (ENCODING 'UTF8')"
        self._copied += _copy(self._connection, copy, rows)
        if self._has_ids:
            self._insert("piece")
            self._execute("INSERT INTO incoming SELECT * FROM piece; TRUNCATE piece")

    def resolve_ids(self) -> int:
        """Derive missing ids, and take out rows that cannot be merged; the number of those."""
        if not self._has_ids:
            self._derive_ids()
            self._insert("incoming")
        if self._inserted == self._copied:
            return 0  # every id was new, and so none is repeated or another user's
        self._execute("ANALYZE incoming (external_id, line)")
        refused = self._execute(_REPEATED).rowcount if self._has_ids else 0
        refused += self._execute(_FOREIGN, user=self._user).rowcount
        self._copied -= refused
        return refused

    def refused_rows(self) -> Iterator[tuple[int, str]]:
        """Line and reason of the rows that were taken out, in the file's order."""
        return self._stream("SELECT line, reason FROM refused ORDER BY line")

    def run(self) -> Counts:
        """Update the transactions that differ, then the labels of those that were stored before."""
        updated = labels = changed = kept = 0
        if self._inserted < self._copied:
            updated = self._execute(self._update_sql(), user=self._user).rowcount
        if self._has_labels:
            labels = self._connection.scalar(text("SELECT count(label) FROM incoming")) or 0
        new = self._labels
        if labels > new:
            more, changed, kept = self._execute(_LABELS, user=self._user).one()
            new += more
        return Counts(
            inserted=self._inserted,
            updated=updated,
            unchanged=self._copied - self._inserted - updated,
            labels_inserted=new,
            labels_updated=changed,
            labels_kept=kept,
            labels_unchanged=labels - new - changed - kept,
        )

    def row_ids(self) -> Iterator[tuple[int, int]]:
        """Line and transaction's id of each imported row, in the file's order."""
        return self._stream(
            "SELECT i.line, t.id FROM incoming AS i JOIN transactions AS t USING (external_id) "
            "ORDER BY i.line"
        )

    def _execute(self, statement: str, **parameters: object) -> CursorResult[*tuple[Any, ...]]:
        return self._connection.execute(text(statement), parameters)

    def _stream(self, query: str) -> Iterator[Any]:
        result = self._connection.execute(text(query), execution_options={"yield_per": 1000})
        yield from map(tuple, result)

    def _derive_ids(self) -> None:
        """Ids from the rows' contents, numbered among equal rows, which are transactions apart."""
        parts = " || E'\\x1f' || ".join(
            f"coalesce({name}::text, '')" for name in _HASHED if name in self._columns
        )
        self._execute("ALTER TABLE incoming RENAME TO raw_incoming")
        self._execute(
            f"""
            CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS
            SELECT *, 'row-' || content || '-' ||
                row_number() OVER (PARTITION BY content ORDER BY line) AS external_id
            FROM (
                SELECT *, md5(coalesce(:user, '') || E'\\x1f' || {parts}) AS content
                FROM raw_incoming
            ) AS hashed
            """,  # noqa: S608  names of our own
            user=self._user,
        )
        self._execute("DROP TABLE raw_incoming")

    def _update_sql(self) -> str:
        """Update the stored transactions that differ."""
        stored = ", ".join(f"t.{name}" for name in self._names.split(", "))
        return f"""
            UPDATE transactions AS t SET ({self._names}) = ROW ({self._values}) FROM incoming AS i
            WHERE t.external_id = i.external_id AND t.user_id IS NOT DISTINCT FROM :user
            AND ({self._values}) IS DISTINCT FROM ({stored})
        """  # noqa: S608  names of our own

    def _insert(self, table: str) -> None:
        """Insert new transactions with their labels: nobody else can see these rows yet.

        ON CONFLICT costs a seventh of a first import's rate, so it waits for the first id that
        is stored already.
        """
        if self._only_new:
            try:
                with self._connection.begin_nested():
                    self._insert_from(table, "")
                return
            except IntegrityError as error:
                if not isinstance(error.orig, UniqueViolation):
                    raise
                self._only_new = False
        self._insert_from(table, "ON CONFLICT (external_id) DO NOTHING")

    def _insert_from(self, table: str, on_conflict: str) -> None:
        labels = f"""
            INSERT INTO transaction_labels (txn_id, label, source)
            SELECT DISTINCT ON (m.id) m.id, i.label, 'import'
            FROM merged AS m JOIN {table} AS i USING (external_id)
            WHERE i.label IS NOT NULL ORDER BY m.id, i.line
            RETURNING 1
        """  # noqa: S608  names of our own
        statement = f"""
            WITH merged AS (
                INSERT INTO transactions (external_id, user_id, {self._names})
                SELECT i.external_id, :user, {self._values} FROM {table} AS i ORDER BY i.line
                {on_conflict}
                RETURNING id, external_id
            ), labelled AS ({labels if self._has_labels else "SELECT 1 WHERE false"})
            SELECT count(*), (SELECT count(*) FROM labelled) FROM merged
        """  # noqa: S608  names of our own
        inserted, labelled = self._execute(statement, user=self._user).one()
        self._inserted += inserted
        self._labels += labelled


def _copy(connection: Connection, statement: str, rows: bytes) -> int:
    try:
        cursor = connection.connection.cursor()
        cursor.copy_expert(statement, io.BytesIO(rows), size=1 << 20)
        return int(cursor.rowcount)
    except psycopg2.Error as error:
        is_lost = isinstance(error, psycopg2.OperationalError)
        raise (OperationalError if is_lost else DBAPIError)(statement, None, error) from error


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
_CHANGED = "SELECT id, label, 'import' FROM given WHERE is_changed ORDER BY id"
_LABELS = f"""
    WITH given AS (
        SELECT t.id, i.label, l.source = 'human' AS kept,
            l.txn_id IS NULL OR {labels.replaces("i.label", "'import'")} AS is_changed
        FROM incoming AS i JOIN transactions AS t ON t.external_id = i.external_id
        LEFT JOIN transaction_labels AS l ON l.txn_id = t.id
        WHERE i.label IS NOT NULL AND t.user_id IS NOT DISTINCT FROM :user
    ), merged AS ({labels.upsert_sql(_CHANGED)})
    SELECT (SELECT count(*) FILTER (WHERE is_new) FROM merged),
        (SELECT count(*) FILTER (WHERE NOT is_new) FROM merged),
        (SELECT count(*) FROM given WHERE kept)
"""  # noqa: S608  names of our own
