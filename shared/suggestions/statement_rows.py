"""What the copy of a bank's file says of each of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Engine, select

from shared.db.engine import transaction
from shared.db.feature_store import RAW_COLUMNS, raw_transaction
from shared.db.open_transactions import CLOSED_BY
from shared.db.tables import Arm, LabelSource, Transaction, TransactionLabel
from shared.experiments.traffic_split import TrafficSplit
from shared.features.extract import features_of
from shared.statements.annotated_csv import Annotation
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import Row, Table
from shared.suggestions import service as suggestion_service
from shared.suggestions.context import load_context
from shared.suggestions.decision import Decision
from shared.suggestions.service import ServingContext, SuggestionRequest, SuggestionResult

PAGE = 1_000
DELETED = ("rejected", Annotation(reason="deleted earlier"))
_SOURCES = {LabelSource.HUMAN: "you", LabelSource.IMPORT: "import"}

# Which kind of row it is (labelled, sure, to review, unknown, rejected, left out), and our cells.
RowAnnotation = tuple[str, Annotation]


class AnnotatedRow(NamedTuple):
    """One row of the file with what is said of it."""

    kind: str
    cells: Sequence[str]
    ours: Annotation


def annotate_rows(
    table: Table,
    placed: Iterable[tuple[int, int]],
    said_of: Callable[[Sequence[int]], Mapping[int, RowAnnotation]],
) -> Iterator[AnnotatedRow]:
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
            said = _annotate_rejected(table, row) if txn_id is None else found.get(txn_id, DELETED)
            yield AnnotatedRow(said[0], row.cells, said[1])


def annotate(
    engine: Engine,
    heard_in: Callable[[TrafficSplit | None], ServingContext],
    ids: Sequence[int],
    *,
    at_home: bool = False,
) -> tuple[dict[int, RowAnnotation], list[SuggestionResult]]:
    """The annotations of these transactions now, and the suggestions in them, not yet stored.

    Args:
        heard_in: gives the models and the traffic split, from the newest change of the split.
        at_home: use the live model, if there is one, whatever the canary's share of users.
    """
    wanted = (
        select(
            Transaction.id,
            Transaction.external_id,
            TransactionLabel.label,
            TransactionLabel.source,
            *RAW_COLUMNS,
        )
        .outerjoin(TransactionLabel, CLOSED_BY)
        .where(Transaction.id.in_(ids), Transaction.deleted_at.is_(None))
    )
    found: dict[int, RowAnnotation] = {}
    asked: list[SuggestionRequest] = []
    named: dict[int | None, str | None] = {}
    with transaction(engine) as session:
        for row in session.execute(wanted.order_by(Transaction.id)).mappings():
            if row["source"] is not None:
                found[row["id"]] = _annotate_labelled(
                    row["label"], row["source"], row["external_id"]
                )
            else:
                asked.append(SuggestionRequest(features_of(raw_transaction(row)), row["id"]))
                named[row["id"]] = row["external_id"]
        if not asked:
            return found, []
        told = load_context(session, [(it.row.user_id, it.row.merchant) for it in asked])
        heard = heard_in(told.rollout)
    arm = (Arm.MODEL if heard.live else Arm.RULES) if at_home else None
    answers = suggestion_service.suggest_all(asked, told, heard, arm)
    for answer in answers:
        txn_id = answer.request.txn_id
        if txn_id is not None:
            found[txn_id] = _annotate_suggested(answer.decision, named[txn_id])
    return found, answers


def _annotate_labelled(label: str, source: LabelSource, external_id: str | None) -> RowAnnotation:
    yours = label if source is LabelSource.HUMAN else ""
    return "labelled", Annotation(label, "1.00", _SOURCES[source], "your label", yours, external_id)


def _annotate_suggested(shown: Decision, external_id: str | None) -> RowAnnotation:
    reason = "; ".join(shown.reasons)
    if shown.label is None and shown.alternatives:
        others = ", ".join(f"{it.label} {it.confidence:.2f}" for it in shown.alternatives)
        reason = f"{reason}; perhaps {others}"
    kind = "sure" if shown.label else "to review" if shown.alternatives else "unknown"
    confidence = f"{shown.confidence:.2f}" if kind != "unknown" else ""
    return kind, Annotation(shown.label or "", confidence, shown.layer, reason, "", external_id)


def _annotate_rejected(table: Table, row: Row) -> RowAnnotation:
    why = row.error or _bad_cell(table, row)
    if why and table.is_footer(row.cells):
        return "left out", Annotation()
    why = why or "its id is in the file twice, or is another user's"
    return "rejected", Annotation(reason=f"not imported: {why}")


def _bad_cell(table: Table, row: Row) -> str | None:
    try:
        table.schema.line(row.cells)
    except BadCell as error:
        return str(error)
    return None
