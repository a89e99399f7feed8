"""The statements that merge an imported file: from a temporary table into the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from sqlalchemy import Connection, text

_TYPES = {
    "external_id": "text",
    "date": "date",
    "hour_of_day": "smallint",
    "amount": "numeric(18, 4)",
    "currency": "text",
    "merchant": "text",
    "description": "text",
    "channel": "text",
    "account": "text",
    "mcc": "text",
    "label": "text",
}
_HASHED = ("account", "date", "amount", "currency", "merchant", "description")
_IMPORT_LOCK = 7_310_020  # advisory lock key: two imports at once merge one after the other
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
    """One import's statements, in order: prepare, COPY, settle, refused, run."""

    def __init__(self, *, columns: Sequence[str], user: str | None) -> None:
        self._columns = columns
        self._user = user
        self._own = "external_id" in columns
        self._stored = [name for name in columns if name not in ("external_id", "label")]
        self.copy = f"COPY incoming (line, {', '.join(columns)}) FROM STDIN"

    def prepare(self, connection: Connection) -> None:
        """Make the temporary table that the file streams into."""
        connection.execute(text(_SESSION))
        columns = ", ".join(f"{name} {_TYPES[name]}" for name in self._columns)
        connection.execute(
            text(f"CREATE TEMPORARY TABLE incoming (line bigint, {columns}) ON COMMIT DROP")
        )

    def settle(self, connection: Connection) -> int:
        """Give each row its id and take out those that cannot be merged; how many those are."""
        if not self._own:
            self._derive_ids(connection)
        connection.execute(text("ANALYZE incoming (external_id, line)"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _IMPORT_LOCK})
        connection.execute(
            text("CREATE TEMPORARY TABLE refused (line bigint, reason text) ON COMMIT DROP")
        )
        refused = 0
        if self._own:
            refused += connection.execute(text(_REPEATED)).rowcount
        return refused + connection.execute(text(_FOREIGN), {"user": self._user}).rowcount

    def refused(self, connection: Connection) -> Iterator[tuple[int, str]]:
        """The rows that were taken out, in the file's order, with the reason."""
        result = connection.execute(
            text("SELECT line, reason FROM refused ORDER BY line"),
            execution_options={"yield_per": 1000},
        )
        yield from ((line, reason) for line, reason in result)

    def run(self, connection: Connection) -> Counts:
        """Merge transactions, then labels."""
        user = {"user": self._user}
        labelled = "label" in self._columns
        given = "count(label)" if labelled else "0"
        total, labels = connection.execute(
            text(f"SELECT count(*), {given} FROM incoming")  # noqa: S608
        ).one()
        inserted, updated, new = connection.execute(text(self._merge(labelled)), user).one()
        changed = kept = 0
        if labels > new:
            more, changed, kept = connection.execute(text(_LABELS), user).one()
            new += more
        return Counts(
            inserted=inserted,
            updated=updated,
            unchanged=total - inserted - updated,
            labels_inserted=new,
            labels_updated=changed,
            labels_kept=kept,
            labels_unchanged=labels - new - changed - kept,
        )

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

    def _merge(self, labelled: bool) -> str:
        """New and changed transactions; new ones get their labels at once.

        Nobody else can see a transaction that is inserted here, so its label meets no other.
        """
        names = ", ".join(self._stored)
        given = ", ".join(map(_given, self._stored))
        known = ", ".join(f"t.{name}" for name in self._stored)
        news = ", ".join(f"excluded.{name}" for name in self._stored)
        labels = """
            INSERT INTO transaction_labels (txn_id, label, source)
            SELECT m.id, i.label, 'import' FROM merged AS m JOIN incoming AS i USING (external_id)
            WHERE m.new AND i.label IS NOT NULL ORDER BY m.id
            RETURNING 1
        """
        return f"""
            WITH merged AS (
                INSERT INTO transactions AS t (external_id, user_id, {names})
                SELECT i.external_id, :user, {given}
                FROM incoming AS i LEFT JOIN transactions AS t ON t.external_id = i.external_id
                WHERE t.id IS NULL OR ({given}) IS DISTINCT FROM ({known})
                ORDER BY i.line
                ON CONFLICT (external_id) DO UPDATE SET ({names}) = ROW ({news})
                WHERE ({known}) IS DISTINCT FROM ({news})
                AND t.user_id IS NOT DISTINCT FROM excluded.user_id
                RETURNING t.id, t.external_id, t.xmax = 0 AS new
            ), labelled AS ({labels if labelled else "SELECT 1 WHERE false"})
            SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new),
                (SELECT count(*) FROM labelled) FROM merged
        """  # noqa: S608  names of our own


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
_LABELS = """
    WITH given AS (
        SELECT t.id, i.label, l.source = 'human' AS kept,
            l.txn_id IS NULL OR (l.label, l.source) IS DISTINCT FROM (i.label, 'import') AS news
        FROM incoming AS i JOIN transactions AS t ON t.external_id = i.external_id
        LEFT JOIN transaction_labels AS l ON l.txn_id = t.id
        WHERE i.label IS NOT NULL AND t.user_id IS NOT DISTINCT FROM :user
    ), merged AS (
        INSERT INTO transaction_labels AS l (txn_id, label, source)
        SELECT id, label, 'import' FROM given WHERE news AND kept IS NOT TRUE ORDER BY id
        ON CONFLICT (txn_id) DO UPDATE SET label = excluded.label, source = excluded.source
        WHERE l.source <> 'human'
        RETURNING l.xmax = 0 AS new
    )
    SELECT (SELECT count(*) FILTER (WHERE new) FROM merged),
        (SELECT count(*) FILTER (WHERE NOT new) FROM merged),
        (SELECT count(*) FROM given WHERE kept)
"""
