"""A bank's CSV file in, a copy of it with a category for each row out.

    python -m worker.categorize bank.csv
    python -m worker.categorize bank.csv --out done.csv --user anna --map description=Text

The file is imported as by `worker.ingest`, what a person wrote into an earlier copy becomes labels,
features are built, and each row without a label gets a suggestion as the service makes it: by the
live model, if there is one, whatever the canary's share. See docs/categorize.md.
"""

from __future__ import annotations

import argparse
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import log, services
from shared.db import labels
from shared.db.engine import transaction
from shared.db.tables import Action, LabelSource, Suggestion, Transaction, TransactionLabel
from shared.errors import InvalidInput
from shared.services import Services
from shared.settings import command_settings
from shared.statements import annotated_csv
from shared.statements.annotated_csv import AtomicOutput, RejectedLabel, Rows, UserLabel
from shared.statements.reader import Table, open_statement
from shared.statements.schema import ImportOptions
from shared.suggestions import feedback, statement_rows, suggestion_store
from shared.suggestions import service as suggestion_service
from worker import command_line
from worker.features import build as feature_build
from worker.statements import cli_options
from worker.statements.importer import ImportReport, import_csv

PAGE = 1_000
_SHOWN = 10


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of the rows of a file."""

    imported: ImportReport
    path: Path
    model: str | None  # the version that was heard
    rows: int = 0
    corrections: int = 0  # read back, and news
    lost: list[RejectedLabel] = field(default_factory=list)
    backup: Path | None = None  # the earlier copy, where something in it could not be taken
    kinds: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)


def annotate_statement(
    own: Services,
    source: Path,
    out: Path | None = None,
    *,
    options: ImportOptions = ImportOptions(),  # noqa: B008  it is frozen
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Write the copy of a file, and give what is in it.

    Args:
        out: where to; beside the file if not given. An earlier copy there is read back first.

    Raises:
        InvalidInput: the file is no table of transactions, or there is no place for the copy.
        Unavailable: PostgreSQL does not answer. What was stored stays; an earlier copy, too.
    """
    out = out or beside(source)
    table = open_statement(source, options)
    if out.exists() and out.samefile(source):
        raise InvalidInput(f"{out} is the bank's own file; name another place with --out")
    with AtomicOutput(out) as copy:
        # Sixteen bytes a row: lines, and the transactions that they became.
        lines, ids = array("q"), array("q")

        def placed(line: int, txn_id: int) -> None:
            lines.append(line)
            ids.append(txn_id)

        if out.exists():  # refused before anything is stored
            annotated_csv.check_unchanged(out, table.header, options)
        imported = import_csv(own.engine, table, options=options, progress=progress, placed=placed)
        served = own.live_model.current()
        report = Report(
            imported=imported, path=out, model=served.deployment.run_id if served else None
        )
        if out.exists():
            _import_corrections(
                own,
                report,
                annotated_csv.read_corrections(out, table.header, options),
                options.user,
            )
        feature_build.build_pending(own.engine, feature_build.Scope())
        placed_rows = zip(lines, ids, strict=True)
        _write(own, table, placed_rows, copy.begin(table), report)
        if report.lost:
            report.backup = _check_writable(out)
            out.replace(report.backup)
        copy.publish()
    return report


def beside(source: Path) -> Path:
    """Where the copy goes if nobody says so."""
    name = source.name.removesuffix(".gz")
    name = name[:-4] if name.lower().endswith(".csv") else name
    return source.with_name(name + ".categorized.csv")


def _check_writable(out: Path) -> Path:
    """A name for the earlier copy under which nothing is kept yet."""
    names = (f"{out.stem}.before{n or ''}{out.suffix}" for n in count())
    return next(path for name in names if not (path := out.with_name(name)).exists())


def _import_corrections(
    own: Services, report: Report, said: Iterator[UserLabel | RejectedLabel], user: str | None
) -> None:
    """Make labels of what a person wrote into the copy."""
    while page := list(islice(said, PAGE)):
        report.lost += [item for item in page if isinstance(item, RejectedLabel)]
        told = {item.external_id: item for item in page if isinstance(item, UserLabel)}
        with transaction(own.engine) as session:
            for external_id, *row in session.execute(_current_labels(list(told), user)):
                report.corrections += _apply_correction(session, told.pop(external_id), *row)
        report.lost += [RejectedLabel(0, f"no transaction of this user is {it}") for it in told]


def _current_labels(external_ids: Sequence[str], user: str | None) -> Any:
    """Transactions with the label there now and the newest suggestion for each."""
    newest = (
        select(Suggestion.id)
        .where(Suggestion.txn_id == Transaction.id)
        .order_by(Suggestion.created_at.desc(), Suggestion.id)
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            Transaction.external_id,
            Transaction.id,
            TransactionLabel.label,
            TransactionLabel.source,
            newest,
        )
        .outerjoin(TransactionLabel, TransactionLabel.txn_id == Transaction.id)
        .where(
            Transaction.external_id.in_(external_ids),
            Transaction.user_id.is_not_distinct_from(user),
        )
        .order_by(Transaction.id)
    )


def _apply_correction(
    session: Session,
    said: UserLabel,
    txn_id: int,
    label: str | None,
    source: LabelSource | None,
    suggestion_id: str | None,
) -> bool:
    """Make it the label, as an answer to what was suggested; whether that is news."""
    is_human = source is LabelSource.HUMAN
    if is_human and (label == said.label or not said.is_new):
        return False
    if suggestion_id is not None:
        feedback.record(session, suggestion_id, Action.CORRECT, said.label)
    labels.put(session, {txn_id: (said.label, LabelSource.HUMAN)})
    return True


def _write(
    own: Services,
    table: Table,
    placed: Iterator[tuple[int, int]],
    copy: Rows,
    report: Report,
) -> None:
    for kind, cells, ours in statement_rows.annotate_rows(
        table, placed, lambda ids: _categorized(own, ids)
    ):
        report.rows += 1
        report.kinds[kind] += 1
        if ours.category:
            report.categories[ours.category] += 1
        copy.add(cells, ours)


def _categorized(own: Services, ids: Sequence[int]) -> dict[int, statement_rows.RowAnnotation]:
    """What is written beside each of these transactions; its suggestions are kept."""
    heard_in = partial(
        suggestion_service.serving_context, own.live_model, own.challenger, own.settings
    )
    found, answers = statement_rows.annotate(own.engine, heard_in, ids, at_home=True)
    with transaction(own.engine) as session:
        suggestion_store.store_changed(session, answers, forced=True)
    return found


def summary(report: Report) -> str:
    """A report for the person at the terminal."""
    kinds, imported = report.kinds, report.imported
    lines = [f"{report.rows:,} rows, {imported.inserted:,} of them new"]
    if report.corrections:
        lines.append(f"  learned from what you wrote into the copy: {report.corrections:,}")
    for kind, what in (
        ("labelled", "labelled by you or in the file"),
        ("sure", "sure"),
        ("to review", "to review (likely categories are in the reason)"),
        ("unknown", "unknown"),
        ("rejected", "not imported (the reason says why)"),
        ("left out", "no transactions (totals, empty cells)"),
    ):
        if kinds[kind] or kind not in ("rejected", "left out"):
            lines.append(f"  {what}: {kinds[kind]:,}")
    lines += [f"    line {reject.line}: {reject.reason}" for reject in imported.rejects]
    if report.categories:
        lines.append("Most frequent:")
        lines += [f"  {count:7,}  {name}" for name, count in report.categories.most_common(_SHOWN)]
    for lost in report.lost[:_SHOWN]:
        where = f"line {lost.line} of the copy" if lost.line else "a row of the copy"
        lines.append(f"Not taken: {where}: {lost.why}")
    if report.backup:
        lines.append(f"{len(report.lost):,} not taken in all; that copy is kept: {report.backup}")
    model = f"model {report.model}" if report.model else "no model yet: rules and memory alone"
    lines += [f"Answered by: {model}", f"The copy: {report.path}"]
    if kinds["sure"] + kinds["to review"] + kinds["unknown"]:
        lines.append(
            "Next: open it, write what it really is into your_category where it is wrong or empty, "
            "save it as CSV in the same place, and run this again."
        )
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m worker.categorize",
        description="Write a copy of a bank's CSV file with a category for each row.",
    )
    parser.add_argument("file", type=Path, help="a CSV file, plain or .gz")
    parser.add_argument("--out", type=Path, help="where the copy goes; beside the file if not told")
    cli_options.add_options(parser)
    wanted = parser.parse_args(argv)
    try:
        options = cli_options.options_from(wanted)
    except ValueError as error:
        parser.error(str(error))
    log.configure("error")  # what matters here is told in words

    def command() -> str:
        with (
            closing(services.build(command_settings(), application="categorize")) as own,
            cli_options.progress_printer() as progress,
        ):
            return summary(
                annotate_statement(own, wanted.file, wanted.out, options=options, progress=progress)
            )

    return command_line.run("categorize", command, outcome="an earlier copy is as it was")
