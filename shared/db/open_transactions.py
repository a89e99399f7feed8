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
    """The condition that a transaction is open, as SQL text.

    Args:
        transactions: the name of that table in the statement.
        txn_id: the column with the transaction's id, of any table.
    """
    return f"""{transactions}.deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM transaction_labels AS closing
        WHERE closing.txn_id = {txn_id} AND closing.source <> 'rule'
    )"""


_IS_OPEN = text(is_open("transactions", "transactions.id"))


def count(session: Session, user_id: str | None) -> int:
    """Count the open transactions of a user, or of all users."""
    return session.scalar(select(func.count(Transaction.id)).where(_of(user_id), _IS_OPEN)) or 0


def next_ids(session: Session, user_id: str | None, *, after: int, limit: int) -> Sequence[int]:
    """Return the ids of the next open transactions, in order."""
    page = select(Transaction.id).where(_of(user_id), Transaction.id > after, _IS_OPEN)
    return session.scalars(page.order_by(Transaction.id).limit(limit)).all()


def _of(user_id: str | None) -> ColumnElement[bool]:
    return true() if user_id is None else Transaction.user_id == user_id
