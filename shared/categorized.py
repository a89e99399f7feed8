"""What the copy of a bank's file says of each of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from shared.categorized_csv import Cells
from shared.csv_reading import Row, Table
from shared.csv_values import BadCell
from shared.tables import Action, LabelSource, Suggestion, Transaction, TransactionLabel

PAGE = 1_000
DELETED = ("rejected", Cells(reason="deleted earlier"))
_SOURCES = {LabelSource.HUMAN: "you", LabelSource.IMPORT: "import"}

# Which kind of row it is (labelled, sure, to review, unknown, rejected, left out), and our cells.
Said = tuple[str, Cells]


class Line(NamedTuple):
    """One row of the file with what is said of it."""

    kind: str
    cells: Sequence[str]
    ours: Cells


def lines(
    table: Table,
    placed: Iterable[tuple[int, int]],
    said_of: Callable[[Sequence[int]], Mapping[int, Said]],
) -> Iterator[Line]:
    """Every row of a file, in its order.

    Args:
        placed: line and transaction of each row that was taken, in the file's order.
        said_of: what is said of some transactions; those that it leaves out were deleted.
    """
    rows, following = table.rows(), iter(placed)
    next_one = next(following, None)
    while page := list(islice(rows, PAGE)):
        ids: list[int | None] = []
        for row in page:
            taken = next_one is not None and next_one[0] == row.line
            ids.append(next_one[1] if taken and next_one else None)
            if taken:
                next_one = next(following, None)
        found = said_of([txn_id for txn_id in ids if txn_id is not None])
        for row, txn_id in zip(page, ids, strict=True):
            said = _no_transaction(table, row) if txn_id is None else found.get(txn_id, DELETED)
            yield Line(said[0], row.cells, said[1])


def labelled(label: str, source: LabelSource, external_id: str | None) -> Said:
    """By a person or an import."""
    yours = label if source is LabelSource.HUMAN else ""
    return "labelled", Cells(label, "1.00", _SOURCES[source], "your label", yours, external_id)


def is_said(source: LabelSource | None) -> bool:
    """Whether a label of this source is somebody's word, which no suggestion is put beside."""
    return source in _SOURCES


def suggested(
    label: str | None,
    confidence: float,
    layer: str,
    reasons: Sequence[str],
    alternatives: Sequence[tuple[str, float]],
    external_id: str | None,
) -> Said:
    """By the service."""
    reason = "; ".join(reasons)
    if label is None and alternatives:
        others = ", ".join(f"{other} {share:.2f}" for other, share in alternatives)
        reason = f"{reason}; perhaps {others}"
    kind = "sure" if label else "to review" if alternatives else "unknown"
    shown = f"{confidence:.2f}" if kind != "unknown" else ""
    return kind, Cells(label or "", shown, layer, reason, "", external_id)


def as_stored(session: Session, ids: Sequence[int]) -> dict[int, Said]:
    """Labels and newest suggestions as they are; nothing is suggested anew."""
    newest = (
        select(Suggestion)
        .ext(distinct_on(Suggestion.txn_id))
        .where(Suggestion.txn_id.in_(ids))
        .order_by(Suggestion.txn_id, Suggestion.created_at.desc(), Suggestion.id)
    )
    made = {it.txn_id: it for it in session.scalars(newest)}
    wanted = (
        select(
            Transaction.id,
            Transaction.external_id,
            TransactionLabel.label,
            TransactionLabel.source,
        )
        .outerjoin(TransactionLabel, TransactionLabel.txn_id == Transaction.id)
        .where(Transaction.id.in_(ids), Transaction.deleted_at.is_(None))
    )
    found: dict[int, Said] = {}
    for txn_id, external_id, label, source in session.execute(wanted):
        if is_said(source):
            found[txn_id] = labelled(label, source, external_id)
        else:
            found[txn_id] = _of(made.get(txn_id), external_id)
    return found


def _of(made: Any, external_id: str | None) -> Said:
    if made is None:
        return "unknown", Cells(reason="no suggestion was made yet", external_id=external_id)
    if made.answer is Action.REJECT:
        reason = f"you rejected {made.answer_label}"
        return "to review", Cells(source="you", reason=reason, external_id=external_id)
    others = [(it["label"], it["confidence"]) for it in made.alternatives]
    return suggested(made.label, made.confidence, made.layer, made.reasons, others, external_id)


def _no_transaction(table: Table, row: Row) -> Said:
    why = row.wrong or _bad_cell(table, row)
    if why and table.is_no_row(row.cells):
        return "left out", Cells()
    why = why or "its id is in the file twice, or is another user's"
    return "rejected", Cells(reason=f"not imported: {why}")


def _bad_cell(table: Table, row: Row) -> str | None:
    try:
        table.meaning.line(row.cells)
    except BadCell as error:
        return str(error)
    return None
