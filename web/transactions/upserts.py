"""Bulk upserts of transactions and labels, in a few statements each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, case, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.db import labels
from shared.db.tables import TRANSACTION_CONTENT, LabelSource, Transaction
from shared.errors import FieldError
from web.http import parsing, schemas
from web.http.problems import field_problems

_TRANSACTION = TypeAdapter(schemas.TransactionItem)
_LABEL = TypeAdapter(schemas.LabelItem)
_CONTENT = [name for name in TRANSACTION_CONTENT if name != "user_id"]
# Whether an upsert inserted the row it returns: PostgreSQL sets xmax where it locked an old one.
_IS_NEW: ColumnElement[bool] = literal_column("xmax = 0")
Key = tuple[str, str | int | None]  # the field that names an item's transaction, and its value


def store_transactions(session: Session, items: Sequence[Any]) -> schemas.StoredItems:
    """Insert or update transactions by `external_id`; an item without a change changes nothing.

    The statement that writes also checks the owner: of two users who send the same id at the same
    moment, the second is refused.
    """
    good, errors = _parse(_TRANSACTION, items, lambda item: ("external_id", item.external_id))
    if not good:
        return _result({}, errors, unchanged=0)
    # In one order, so that two requests with the same items cannot deadlock.
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
            # The time of the first deletion stays.
            "deleted_at": case(
                (new.excluded["deleted_at"].is_(None), None),
                else_=func.coalesce(Transaction.deleted_at, new.excluded["deleted_at"]),
            ),
        },
        where=changed & Transaction.user_id.is_not_distinct_from(new.excluded.user_id),
    ).returning(Transaction.external_id, _IS_NEW)
    written = {row[0]: row[1] for row in session.execute(upsert)}
    left = {
        item.external_id: index for index, item in good.items() if item.external_id not in written
    }
    owners = session.execute(
        select(Transaction.external_id, Transaction.user_id).where(
            Transaction.external_id.in_(left)
        )
    )
    unchanged = 0
    for external_id, user_id in owners:
        if good[left[external_id]].user_id == user_id:
            unchanged += 1
        else:
            error = FieldError("external_id", "belongs to another user")
            errors.append(_problem(left[external_id], error, code="conflict"))
    return _result(written, errors, unchanged)


def store_labels(session: Session, items: Sequence[Any]) -> schemas.StoredItems:
    """Set labels. A person's label is never replaced by that of an import or a rule."""
    good, errors = _parse(_LABEL, items, _label_key)
    keys = {index: _label_key(item) for index, item in good.items()}
    stored: dict[Key, int] = {}
    for txn_id, external_id in session.execute(
        select(Transaction.id, Transaction.external_id).where(
            or_(
                Transaction.id.in_([value for name, value in keys.values() if name == "txn_id"]),
                Transaction.external_id.in_(
                    [value for name, value in keys.values() if name == "external_id"]
                ),
            ),
            Transaction.deleted_at.is_(None),
        )
    ):
        stored["txn_id", txn_id] = stored["external_id", external_id] = txn_id
    rows: dict[int, tuple[str, LabelSource]] = {}
    for index, item in good.items():
        field, _ = key = keys[index]
        if key not in stored:
            error = FieldError(field, "there is no such transaction")
            errors.append(_problem(index, error, code="not_found"))
        elif stored[key] in rows:
            errors.append(_problem(index, FieldError(field, "is labelled by an earlier item too")))
        else:
            rows[stored[key]] = item.label, item.source
    written = labels.put(session, rows)
    return _result(written, errors, unchanged=len(rows) - len(written))


def _row(item: schemas.TransactionItem) -> dict[str, Any]:
    row = item.model_dump(exclude={"deleted"}) | {"currency": item.currency or ""}
    return row | {"deleted_at": func.now() if item.deleted else None}


def _label_key(item: schemas.LabelItem) -> Key:
    if item.txn_id is None:
        return "external_id", item.external_id
    return "txn_id", item.txn_id


def _parse(
    adapter: TypeAdapter[Any], items: Sequence[Any], key_of: Callable[[Any], Key]
) -> tuple[dict[int, Any], list[schemas.StoredItemProblem]]:
    """The valid items by index, and the problems of the others and of repeated ones."""
    good: dict[int, Any] = {}
    problems: list[schemas.StoredItemProblem] = []
    first: dict[Key, int] = {}
    for index, raw in enumerate(items):
        try:
            item = parsing.parse_item(adapter, raw)
        except ValidationError as error:
            problems.append(_problem(index, *parsing.invalid(error).errors))
            continue
        key = key_of(item)
        if first.setdefault(key, index) == index:
            good[index] = item
        else:
            message = f"is in item {first[key]} of this request too"
            problems.append(_problem(index, FieldError(key[0], message)))
    return good, problems


def _problem(
    index: int, *errors: FieldError, code: str = "invalid_input"
) -> schemas.StoredItemProblem:
    return schemas.StoredItemProblem(index=index, code=code, errors=field_problems(errors))


def _result(
    written: Mapping[Any, bool], errors: Iterable[schemas.StoredItemProblem], unchanged: int
) -> schemas.StoredItems:
    """The counts of an upsert; *written* says of each row that was written whether it is new."""
    inserted = sum(written.values())
    return schemas.StoredItems(
        inserted=inserted,
        updated=len(written) - inserted,
        unchanged=unchanged,
        errors=sorted(errors, key=lambda error: error.index),
    )
