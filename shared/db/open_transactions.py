"""Open transactions: not deleted, and labelled neither by a person nor by an import."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, func, select, text, true
from sqlalchemy.orm import Session

from shared.db.tables import LabelSource, Transaction, TransactionLabel

# Joins a transaction with the label that closes it.
CLOSED_BY = and_(
    TransactionLabel.txn_id == Transaction.id, TransactionLabel.source != LabelSource.RULE
)


def is_open(transactions: str, txn_id: str) -> str:
    """The same as a condition in SQL's own text.

    Args:
        transactions: what the statement calls that table.
        txn_id: the column with the transaction's id; it may be another table's.
    """
    return f"""{transactions}.deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM transaction_labels AS closing
        WHERE closing.txn_id = {txn_id} AND closing.source <> 'rule'
    )"""


_IS_OPEN = text(is_open("transactions", "transactions.id"))


def count(session: Session, user_id: str | None) -> int:
    """How many transactions of a user, or of all users, are open."""
    return session.scalar(select(func.count(Transaction.id)).where(_of(user_id), _IS_OPEN)) or 0


def next_ids(session: Session, user_id: str | None, *, after: int, limit: int) -> Sequence[int]:
    """The next of them, in the order of their ids."""
    page = select(Transaction.id).where(_of(user_id), Transaction.id > after, _IS_OPEN)
    return session.scalars(page.order_by(Transaction.id).limit(limit)).all()


def _of(user_id: str | None) -> ColumnElement[bool]:
    return true() if user_id is None else Transaction.user_id == user_id
