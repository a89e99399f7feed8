"""Storing what callers send: transactions and labels, many in a few statements."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import case, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.errors import FieldError
from shared.tables import LabelSource, Transaction, TransactionLabel
from web import schemas
from web.problems import listed

_TRANSACTION = TypeAdapter(schemas.TransactionItem)
_LABEL = TypeAdapter(schemas.LabelItem)
_CONTENT = (
    "date", "amount", "currency", "merchant", "description", "channel", "account", "mcc",
    "hour_of_day",
)  # fmt: skip


@dataclass(slots=True)
class Stored:
    """What became of the items of a request."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, index: int, *errors: FieldError, code: str = "invalid_input") -> None:
        """Note that one item was not stored, and why."""
        self.errors.append({"index": index, "code": code, "errors": listed(errors)})

    def as_json(self) -> dict[str, Any]:
        return {
            "inserted": self.inserted,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "errors": sorted(self.errors, key=lambda error: error["index"]),
        }


def count_labels(session: Session) -> int:
    """How many transactions that are not deleted have a label."""
    return (
        session.scalar(
            select(func.count())
            .select_from(TransactionLabel)
            .join(Transaction, Transaction.id == TransactionLabel.txn_id)
            .where(Transaction.deleted_at.is_(None))
        )
        or 0
    )


def store_transactions(session: Session, items: Sequence[Any]) -> Stored:
    """Insert or update by `external_id`; an item that says nothing new changes nothing."""
    stored = Stored()
    good = _checked(_TRANSACTION, items, stored, key=lambda item: item.external_id)
    owners = {
        row.external_id: row.user_id
        for row in session.execute(
            select(Transaction.external_id, Transaction.user_id).where(
                Transaction.external_id.in_([item.external_id for item in good.values()])
            )
        )
    }
    rows = []
    for index, item in good.items():
        if item.external_id in owners and owners[item.external_id] != item.user_id:
            error = FieldError("external_id", "belongs to another user")
            stored.refuse(index, error, code="conflict")
        else:
            row = item.model_dump(exclude={"deleted"}) | {"currency": item.currency or ""}
            rows.append(row | {"deleted_at": func.now() if item.deleted else None})
    if not rows:
        return stored
    new = insert(Transaction).values(rows)
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
        where=changed,
    ).returning(Transaction.external_id)
    touched = set(session.scalars(upsert))
    stored.inserted = len(touched - owners.keys())
    stored.updated = len(touched & owners.keys())
    stored.unchanged = len(rows) - len(touched)
    return stored


def store_labels(session: Session, items: Sequence[Any]) -> Stored:
    """Set labels. One of a person is never replaced by one of an import or a rule."""
    stored = Stored()
    good = _checked(_LABEL, items, stored, key=lambda item: (item.txn_id, item.external_id))
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
    rows: dict[int, dict[str, Any]] = {}
    for index, item in good.items():
        name = "external_id" if item.txn_id is None else "txn_id"
        txn_id = by_external.get(item.external_id) if item.txn_id is None else item.txn_id
        if txn_id is None or (item.txn_id is not None and txn_id not in known):
            stored.refuse(index, FieldError(name, "there is no such transaction"), code="not_found")
        elif txn_id in rows:
            stored.refuse(index, FieldError(name, "is labelled by an earlier item too"))
        else:
            rows[txn_id] = {"txn_id": txn_id, "label": item.label, "source": item.source}
    if not rows:
        return stored
    before = set(
        session.scalars(select(TransactionLabel.txn_id).where(TransactionLabel.txn_id.in_(rows)))
    )
    new = insert(TransactionLabel).values(list(rows.values()))
    theirs, ours = TransactionLabel, new.excluded
    upsert = new.on_conflict_do_update(
        index_elements=["txn_id"],
        set_={"label": ours["label"], "source": ours["source"]},
        where=(
            func.row(theirs.label, theirs.source).is_distinct_from(
                func.row(ours["label"], ours["source"])
            )
            & ((theirs.source != LabelSource.HUMAN) | (ours["source"] == LabelSource.HUMAN))
        ),
    ).returning(TransactionLabel.txn_id)
    touched = set(session.scalars(upsert))
    stored.inserted = len(touched - before)
    stored.updated = len(touched & before)
    stored.unchanged = len(rows) - len(touched)
    return stored


def _checked(
    adapter: TypeAdapter[Any],
    items: Sequence[Any],
    stored: Stored,
    key: Callable[[Any], Hashable],
) -> dict[int, Any]:
    """The good items by their index; the bad ones, and repeated ones, are refused in *stored*."""
    good: dict[int, Any] = {}
    first: dict[Hashable, int] = {}
    for index, raw in enumerate(items):
        try:
            # JSON's own rules for types, as for a body: a date is text there.
            item = adapter.validate_json(schemas.as_json(raw))
        except ValidationError as error:
            stored.refuse(index, *schemas.invalid(error).errors)
            continue
        given = key(item)
        if given in ((None, None),) or (isinstance(given, tuple) and None not in given):
            message = "give exactly one of txn_id and external_id"
            stored.refuse(index, FieldError("txn_id", message))
        elif given in first:
            message = f"is in item {first[given]} of this request too"
            stored.refuse(index, FieldError("external_id", message))
        else:
            first[given] = index
            good[index] = item
    return good
