"""Storing what callers send: transactions and labels, many in a few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, case, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.db import labels
from shared.db.tables import TRANSACTION_CONTENT, LabelSource, Transaction
from shared.errors import FieldError
from web.http import parsing, schemas
from web.http.problems import field_errors

_TRANSACTION = TypeAdapter(schemas.TransactionItem)
_LABEL = TypeAdapter(schemas.LabelItem)
_CONTENT = [name for name in TRANSACTION_CONTENT if name != "user_id"]
# Of a row that an upsert returns: whether it was inserted. An updated one was locked before, which
# PostgreSQL notes in xmax.
_IS_NEW: ColumnElement[bool] = literal_column("xmax = 0")


@dataclass(slots=True)
class UpsertResult:
    """What became of the items of a request."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def add_error(self, index: int, *errors: FieldError, code: str = "invalid_input") -> None:
        """Note that one item was not stored, and why."""
        self.errors.append({"index": index, "code": code, "errors": field_errors(errors)})

    def count(self, written: Iterable[bool]) -> None:
        """Of the rows that were written, those that are new and those that were there."""
        for is_new in written:
            self.inserted += is_new
            self.updated += not is_new

    def as_json(self) -> dict[str, Any]:
        return {
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "errors": sorted(self.errors, key=lambda error: error["index"]),
        }


def count_labels(session: Session) -> int:
    """How many transactions that are not deleted have a label."""
    return labels.count(session)


def store_transactions(session: Session, items: Sequence[Any]) -> UpsertResult:
    """Insert or update by `external_id`; an item that says nothing new changes nothing.

    Whose a transaction is, is asked in the same statement that writes: of two users who bring the
    same id at the same moment, the second is refused.
    """
    stored = UpsertResult()
    good = _checked(_TRANSACTION, items, stored, key=lambda item: ("external_id", item.external_id))
    if not good:
        return stored
    # All in one order: two requests with the same items then wait for each other, never both.
    ordered = sorted(good.values(), key=lambda item: item.external_id)
    new = insert(Transaction).values([_row(item) for item in ordered])
    was_deleted = Transaction.deleted_at.is_not(None)
    changed = func.row(
        *(getattr(Transaction, name) for name in _CONTENT), was_deleted
    ).is_distinct_from(
        func.row(
            *(new.excluded[name] for name in _CONTENT), new.excluded["deleted_at"].is_not(None)
        )
    )
    upsert = new.on_conflict_do_update(
        index_elements=["external_id"],
        set_={
            **{name: new.excluded[name] for name in _CONTENT},
            # Deleted stays deleted since the first time it was.
            "deleted_at": case(
                (new.excluded["deleted_at"].is_(None), None),
                else_=func.coalesce(Transaction.deleted_at, new.excluded["deleted_at"]),
            ),
        },
        where=changed & Transaction.user_id.is_not_distinct_from(new.excluded.user_id),
    ).returning(Transaction.external_id, _IS_NEW)
    written = {row[0]: row[1] for row in session.execute(upsert)}
    stored.count(written.values())
    left = {item.external_id: index for index, item in good.items()}
    for external_id in written:
        del left[external_id]
    owners = session.execute(
        select(Transaction.external_id, Transaction.user_id).where(
            Transaction.external_id.in_(left)
        )
    )
    for external_id, user_id in owners:
        if good[left[external_id]].user_id == user_id:
            stored.unchanged += 1
        else:
            error = FieldError("external_id", "belongs to another user")
            stored.add_error(left[external_id], error, code="conflict")
    return stored


def store_labels(session: Session, items: Sequence[Any]) -> UpsertResult:
    """Set labels. One of a person is never replaced by one of an import or a rule."""
    stored = UpsertResult()
    good = _checked(_LABEL, items, stored, key=_label_key)
    by_external = {
        row.external_id: row.id
        for row in session.execute(
            select(Transaction.external_id, Transaction.id).where(
                Transaction.external_id.in_(
                    [item.external_id for item in good.values() if item.external_id]
                ),
                Transaction.deleted_at.is_(None),
            )
        )
    }
    known = set(
        session.scalars(
            select(Transaction.id).where(
                Transaction.id.in_([item.txn_id for item in good.values() if item.txn_id]),
                Transaction.deleted_at.is_(None),
            )
        )
    )
    rows: dict[int, tuple[str, LabelSource]] = {}
    for index, item in good.items():
        name = "external_id" if item.txn_id is None else "txn_id"
        txn_id = by_external.get(item.external_id) if item.txn_id is None else item.txn_id
        if txn_id is None or (item.txn_id is not None and txn_id not in known):
            stored.add_error(
                index, FieldError(name, "there is no such transaction"), code="not_found"
            )
        elif txn_id in rows:
            stored.add_error(index, FieldError(name, "is labelled by an earlier item too"))
        else:
            rows[txn_id] = item.label, item.source
    written = labels.put(session, rows).values()
    stored.count(written)
    stored.unchanged = len(rows) - len(written)
    return stored


def _row(item: schemas.TransactionItem) -> dict[str, Any]:
    row = item.model_dump(exclude={"deleted"}) | {"currency": item.currency or ""}
    return row | {"deleted_at": func.now() if item.deleted else None}


def _label_key(item: schemas.LabelItem) -> tuple[str, str | int | None]:
    if item.txn_id is None:
        return "external_id", item.external_id
    return "txn_id", item.txn_id


def _checked(
    adapter: TypeAdapter[Any],
    items: Sequence[Any],
    stored: UpsertResult,
    key: Callable[[Any], tuple[str, str | int | None]],
) -> dict[int, Any]:
    """The good items by their index; the bad ones, and repeated ones, are refused in *stored*.

    Args:
        key: the field that names an item's transaction, and its value.
    """
    good: dict[int, Any] = {}
    first: dict[tuple[str, str | int | None], int] = {}
    for index, raw in enumerate(items):
        try:
            # JSON's own rules for types, as for a body: a date is text there.
            item = adapter.validate_json(parsing.as_json(raw))
        except ValidationError as error:
            stored.add_error(index, *parsing.invalid(error).errors)
            continue
        given = key(item)
        if given in first:
            message = f"is in item {first[given]} of this request too"
            stored.add_error(index, FieldError(given[0], message))
        else:
            first[given] = index
            good[index] = item
    return good
