"""The annotated copy of a statement, with a category for each row.

The file is imported as by `worker.ingest`, what the user wrote into an earlier copy becomes labels,
features are built, and each row without a label gets a suggestion as the service makes it: by the
live model, if there is one, whatever the canary's share. See docs/categorize.md.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Select, select
from sqlalchemy.orm import Session

from shared.db import labels
from shared.db.engine import transaction
from shared.db.tables import Action, LabelSource, Suggestion, Transaction, TransactionLabel
from shared.errors import InvalidInput
from shared.experiments.traffic_split import TrafficSplit
from shared.services import Services
from shared.statements import annotated_csv
from shared.statements.annotated_csv import Rows, UserLabel
from shared.statements.draft import Draft
from shared.statements.reader import Table, open_statement
from shared.statements.rejects import Reject
from shared.statements.schema import ImportOptions
from shared.suggestions import feedback, statement_rows, suggestion_store
from shared.suggestions import service as suggestion_service
from shared.suggestions.service import ServingContext
from worker.features import build
from worker.statements.importer import ImportReport, import_csv

PAGE = 1_000  # corrections that are stored at a time


@dataclass(slots=True, kw_only=True)
class Report:
    """The counts of an annotated copy, in rows, and what its user should read."""

    imported: ImportReport
    path: Path
    model: str | None  # the live version
    rows: int = 0
    corrections: int = 0  # from the earlier copy, that changed a label
    lost: list[Reject] = field(default_factory=list)  # corrections of the earlier copy
    backup: Path | None = None  # the earlier copy, if a correction in it is lost
    kinds: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)


def annotate_statement(
    services: Services,
    source: Path,
    out: Path | None = None,
    *,
    options: ImportOptions = ImportOptions(),  # noqa: B008  it is frozen
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Import a file and write its annotated copy.

    Args:
        out: the path of the copy, by default beside the file. The corrections in an earlier copy
            there are read first.

    Raises:
        InvalidInput: the file is no table of transactions, or the copy cannot be written.
        Unavailable: PostgreSQL does not answer. What was stored stays; an earlier copy, too.
    """
    out = out or default_path(source)
    table = open_statement(source, options)
    if out.exists() and out.samefile(source):
        raise InvalidInput(f"{out} is the bank's own file; name another place with --out")
    with closing(Draft(out, name="copy", option="--out")) as draft:
        file = draft.open()
        if out.exists():  # refused before anything is stored
            annotated_csv.open_copy(out, table.header, options)
        lines, ids = array("q"), array("q")  # sixteen bytes a row

        def add_row(line: int, txn_id: int) -> None:
            lines.append(line)
            ids.append(txn_id)

        imported = import_csv(
            services.engine, table, options=options, progress=progress, on_row=add_row
        )
        live = services.live_model.current()
        report = Report(imported=imported, path=out, model=live.deployment.run_id if live else None)
        if out.exists():
            corrections = annotated_csv.read_corrections(out, table.header, options)
            _import_corrections(services.engine, report, corrections, options.user)
        build.build_pending(services.engine, build.Scope())
        copy = Rows(file, table, mark=annotated_csv.needs_bom(table))
        _write(services, table, zip(lines, ids, strict=True), copy, report)
        if report.lost:
            report.backup = _unused_backup_path(out)
            out.replace(report.backup)
        draft.publish()
    return report


def default_path(source: Path) -> Path:
    """The path of the copy if no option gives it: beside the file."""
    name = source.name.removesuffix(".gz")
    name = name[:-4] if name.lower().endswith(".csv") else name
    return source.with_name(name + ".categorized.csv")


def _unused_backup_path(out: Path) -> Path:
    names = (f"{out.stem}.before{n or ''}{out.suffix}" for n in count())
    return next(path for name in names if not (path := out.with_name(name)).exists())


def _import_corrections(
    engine: Engine, report: Report, corrections: Iterator[UserLabel | Reject], user: str | None
) -> None:
    """Store the categories that the user wrote into the copy as labels."""
    while page := list(islice(corrections, PAGE)):
        report.lost += [item for item in page if isinstance(item, Reject)]
        written = {item.external_id: item for item in page if isinstance(item, UserLabel)}
        with transaction(engine) as session:
            for external_id, *row in session.execute(_current_labels(list(written), user)):
                report.corrections += _apply_correction(session, written.pop(external_id), *row)
        report.lost += [Reject(0, f"no transaction of this user is {name}") for name in written]


def _current_labels(external_ids: Sequence[str], user: str | None) -> Select[Any]:
    """Transactions, each with its label and its newest suggestion."""
    newest = (
        select(Suggestion.id)
        .where(Suggestion.txn_id == Transaction.id)
        .order_by(Suggestion.created_at.desc(), Suggestion.id)
        .limit(1)
        .scalar_subquery()
    )
    label = TransactionLabel
    return (
        select(Transaction.external_id, Transaction.id, label.label, label.source, newest)
        .outerjoin(label, label.txn_id == Transaction.id)
        .where(
            Transaction.external_id.in_(external_ids),
            Transaction.user_id.is_not_distinct_from(user),
        )
        .order_by(Transaction.id)
    )


def _apply_correction(
    session: Session,
    correction: UserLabel,
    txn_id: int,
    label: str | None,
    source: LabelSource | None,
    suggestion_id: str | None,
) -> bool:
    """Store a label as feedback on the newest suggestion; False if it changes nothing."""
    is_human = source is LabelSource.HUMAN
    if is_human and (label == correction.label or not correction.is_new):
        return False
    if suggestion_id is not None:
        feedback.record(session, suggestion_id, Action.CORRECT, correction.label)
    labels.put(session, {txn_id: (correction.label, LabelSource.HUMAN)})
    return True


def _write(
    services: Services,
    table: Table,
    row_ids: Iterator[tuple[int, int]],
    copy: Rows,
    report: Report,
) -> None:
    def serving_for(split: TrafficSplit | None) -> ServingContext:
        serving = suggestion_service.serving_context(
            services.live_model, services.challenger, services.settings, split
        )
        return serving.with_live_model_for_all()

    def annotate(ids: Sequence[int]) -> dict[int, statement_rows.RowAnnotation]:
        annotations, results = statement_rows.annotate(services.engine, serving_for, ids)
        with transaction(services.engine) as session:
            suggestion_store.store_changed(session, results, forced=True)
        return annotations

    for kind, cells, ours in statement_rows.annotate_rows(table, row_ids, annotate):
        report.rows += 1
        report.kinds[kind] += 1
        if ours.category:
            report.categories[ours.category] += 1
        copy.add(cells, ours)
