"""Labels of transactions: writing them, and which source replaces which.

writer             over a human label   over another label
put                no                   yes
put, only_over_rules  no                a rule's only
put_by_person      yes                  yes
restore (an undo)  puts back what was there, whatever its source
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from shared.db.tables import LabelSource, Transaction, TransactionLabel
from shared.errors import Conflict


def replaces(label: str, source: str) -> str:
    """The SQL condition that a label replaces `l`: they differ, and only human replaces human."""
    return (
        f"(l.label, l.source) IS DISTINCT FROM ({label}, {source}) "
        f"AND (l.source <> 'human' OR {source} = 'human')"
    )


def upsert_sql(rows: str, *, over: str = "true") -> str:
    """The SQL that writes labels where they may; it returns txn_id and is_new of each one written.

    Args:
        rows: a query of txn_id, label and source, a transaction once; in the order of txn_id, so
            that two writers cannot deadlock.
        over: one more condition on the existing label `l`.
    """
    return f"""
        INSERT INTO transaction_labels AS l (txn_id, label, source) {rows}
        ON CONFLICT (txn_id) DO UPDATE SET label = excluded.label, source = excluded.source
        WHERE {replaces("excluded.label", "excluded.source")} AND {over}
        RETURNING l.txn_id, l.xmax = 0 AS is_new
    """


_ROWS = "SELECT * FROM unnest(:txn_ids, :labels, :sources) ORDER BY 1"
_BINDS = (
    bindparam("txn_ids", type_=ARRAY(BigInteger)),
    bindparam("labels", type_=ARRAY(Text)),
    bindparam("sources", type_=ARRAY(Text)),
)
_PUT = text(upsert_sql(_ROWS)).bindparams(*_BINDS)
_PUT_OVER_RULES = text(upsert_sql(_ROWS, over="l.source = 'rule'")).bindparams(*_BINDS)


def put(
    session: Session,
    labels: Mapping[int, tuple[str, LabelSource]],
    *,
    only_over_rules: bool = False,
) -> dict[int, bool]:
    """Set labels of existing transactions, except over a human one; or only over one of a rule.

    Returns:
        For each label that was written, whether the transaction had none before.
    """
    statement = _PUT_OVER_RULES if only_over_rules else _PUT
    values = {
        "txn_ids": list(labels),
        "labels": [label for label, _ in labels.values()],
        "sources": [source.value for _, source in labels.values()],
    }
    written = session.execute(statement, values) if labels else ()
    return {txn_id: is_new for txn_id, is_new in written}  # noqa: C416  mypy takes a Row for no pair


def lock(session: Session, txn_id: int) -> TransactionLabel | None:
    """Load the label of a transaction, locked until the database transaction ends."""
    return session.get(TransactionLabel, txn_id, with_for_update=True, populate_existing=True)


def put_by_person(session: Session, txn_id: int, label: str) -> TransactionLabel | None:
    """Set a human label; return the one that it replaced."""
    while True:
        before = lock(session, txn_id)
        if before is not None:
            remove(session, txn_id)
        # created_at is kept: it says since when versions can have learned a label of this row.
        since = {"created_at": before.created_at} if before else {}
        if _insert(session, txn_id, {"label": label, "source": LabelSource.HUMAN, **since}):
            return before
        # Another label came between reading and writing: read again.


def restore(session: Session, txn_id: int, label: dict[str, Any] | None) -> None:
    """Restore a label with its times, or the absence of one.

    Raises:
        Conflict: another label was set meanwhile.
    """
    remove(session, txn_id)
    if label is not None and not _insert(session, txn_id, label):
        raise Conflict("The transaction is just being labelled anew; nothing was undone")


def remove(session: Session, txn_id: int) -> None:
    """Remove the label of a transaction, whatever its source."""
    session.execute(
        delete(TransactionLabel)
        .where(TransactionLabel.txn_id == txn_id)
        .execution_options(synchronize_session=False)
    )


def _insert(session: Session, txn_id: int, label: dict[str, Any]) -> bool:
    new = insert(TransactionLabel).values(txn_id=txn_id, **label).on_conflict_do_nothing()
    return session.scalar(new.returning(TransactionLabel.txn_id)) is not None


def count(session: Session, *conditions: ColumnElement[bool]) -> int:
    """Count the labels of transactions that are not deleted."""
    query = (
        select(func.count(TransactionLabel.txn_id))
        .join(Transaction, Transaction.id == TransactionLabel.txn_id)
        .where(Transaction.deleted_at.is_(None), *conditions)
    )
    return session.scalar(query) or 0
