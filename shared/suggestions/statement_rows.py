"""Annotates the rows of a statement with categories and suggestions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Engine, RowMapping, select

from shared.db.engine import transaction
from shared.db.feature_store import RAW_COLUMNS, raw_transaction
from shared.db.open_transactions import CLOSED_BY
from shared.db.tables import LabelSource, Transaction, TransactionLabel
from shared.experiments.traffic_split import TrafficSplit
from shared.features.extract import features_of
from shared.statements.annotated_csv import Annotation
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import Row, Table
from shared.suggestions import service as suggestion_service
from shared.suggestions.decision import Decision
from shared.suggestions.service import ServingContext, SuggestionRequest, SuggestionResult

PAGE = 1_000

# The kind of the row (labelled, sure, to review, unknown, rejected, left out), and our cells.
RowAnnotation = tuple[str, Annotation]
DELETED: RowAnnotation = ("rejected", Annotation(reason="deleted earlier"))
_SOURCES = {LabelSource.HUMAN: "you", LabelSource.IMPORT: "import"}


class AnnotatedRow(NamedTuple):
    """One row of the statement with its annotation."""

    kind: str
    cells: Sequence[str]
    ours: Annotation


def annotate_rows(
    table: Table,
    stored: Iterable[tuple[int, int]],
    annotations_of: Callable[[Sequence[int]], Mapping[int, RowAnnotation]],
) -> Iterator[AnnotatedRow]:
    """Every row of a statement, in its order.

    Args:
        stored: line and transaction of each stored row, in the statement's order.
        annotations_of: annotates transactions, without those that were deleted.
    """
    rows, remaining = table.rows(), iter(stored)
    following = next(remaining, None)
    while page := list(islice(rows, PAGE)):
        ids: list[int | None] = []
        for row in page:
            if following is not None and following[0] == row.line:
                ids.append(following[1])
                following = next(remaining, None)
            else:
                ids.append(None)
        annotations = annotations_of([txn_id for txn_id in ids if txn_id is not None])
        for row, txn_id in zip(page, ids, strict=True):
            kind, ours = (
                _annotate_rejected(table, row)
                if txn_id is None
                else annotations.get(txn_id, DELETED)
            )
            yield AnnotatedRow(kind, row.cells, ours)


def annotate(
    engine: Engine,
    serving_for: Callable[[TrafficSplit | None], ServingContext],
    ids: Sequence[int],
) -> tuple[dict[int, RowAnnotation], list[SuggestionResult]]:
    """The annotations of these transactions, and the suggestions in them, not yet stored.

    Args:
        serving_for: gives the models for the newest change of the traffic split.
    """
    label = TransactionLabel.label, TransactionLabel.source
    statement = (
        select(Transaction.id, Transaction.external_id, *label, *RAW_COLUMNS)
        .outerjoin(TransactionLabel, CLOSED_BY)
        .where(Transaction.id.in_(ids), Transaction.deleted_at.is_(None))
        .order_by(Transaction.id)
    )
    annotations: dict[int, RowAnnotation] = {}
    requests: list[SuggestionRequest] = []
    external_ids: dict[int, str | None] = {}  # of the transactions of *requests*
    with transaction(engine) as session:
        for row in session.execute(statement).mappings():
            if row["source"] is not None:
                annotations[row["id"]] = _annotate_labelled(row)
            else:
                requests.append(SuggestionRequest(features_of(raw_transaction(row)), row["id"]))
                external_ids[row["id"]] = row["external_id"]
        if not requests:
            return annotations, []
        found = suggestion_service.look_up(session, requests, serving_for)
    results = suggestion_service.suggest(*found)
    for (txn_id, external_id), result in zip(external_ids.items(), results, strict=True):
        annotations[txn_id] = _annotate_suggested(result.decision, external_id)
    return annotations, results


def _annotate_labelled(row: RowMapping) -> RowAnnotation:
    label, source = row["label"], _SOURCES[row["source"]]
    yours = label if source == "you" else ""
    return "labelled", Annotation(label, "1.00", source, "your label", yours, row["external_id"])


def _annotate_suggested(decision: Decision, external_id: str | None) -> RowAnnotation:
    reason = "; ".join(decision.reasons)
    if decision.label is None and decision.alternatives:
        others = ", ".join(f"{it.label} {it.confidence:.2f}" for it in decision.alternatives)
        reason = f"{reason}; perhaps {others}"
    kind = "sure" if decision.label else "to review" if decision.alternatives else "unknown"
    confidence = f"{decision.confidence:.2f}" if kind != "unknown" else ""
    return kind, Annotation(
        decision.label or "", confidence, decision.layer, reason, "", external_id
    )


def _annotate_rejected(table: Table, row: Row) -> RowAnnotation:
    problem = row.error
    if problem is None:
        try:
            table.schema.line(row.cells)
        except BadCell as error:
            problem = str(error)
    if problem and table.is_footer(row.cells):
        return "left out", Annotation()
    problem = problem or "its id is in the file twice, or is another user's"
    return "rejected", Annotation(reason=f"not imported: {problem}")
