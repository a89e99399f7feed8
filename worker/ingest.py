"""A bank's CSV file into transactions and labels, in one transaction of the database.

python -m worker.ingest bank.csv
python -m worker.ingest bank.csv.gz --user anna --map label=Rubrik --sign spend-negative
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.db.engine import make_engine
from shared.settings import command_settings
from worker import command_line
from worker.statements import cli_options
from worker.statements.importer import ImportReport, import_csv


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    wanted = parser.parse_args(argv)
    try:
        options = cli_options.options_from(wanted)
    except ValueError as error:
        parser.error(str(error))
    is_stdin = str(wanted.file) == "-"
    source = sys.stdin.buffer if is_stdin else wanted.file

    def command() -> str:
        engine = make_engine(command_settings().database_url)
        with cli_options.progress_printer() as progress:
            report = import_csv(engine, source, options=options, progress=progress)
        return summary(report, "standard input" if is_stdin else wanted.file.name)

    return command_line.run("ingest", command, outcome="nothing is imported")


def summary(report: ImportReport, name: str) -> str:
    """A report for the person at the terminal."""
    lines = [
        f"{name}: {report.read:,} rows read in {report.elapsed_seconds:.1f} s",
        f"  transactions: {report.inserted:,} inserted, {report.updated:,} updated, "
        f"{report.unchanged:,} unchanged",
        f"  labels: {report.labels_inserted:,} inserted, {report.labels_updated:,} updated, "
        f"{report.labels_unchanged:,} unchanged, {report.labels_kept:,} kept as a person set them",
        f"  rejected: {report.rejected:,}",
        *(f"    line {reject.line}: {reject.reason}" for reject in report.rejects),
    ]
    if report.rejected > len(report.rejects):
        lines.append(f"    and {report.rejected - len(report.rejects):,} more")
    if report.rejects_path:
        lines.append(f"    all of them: {report.rejects_path}")
    if report.skipped:
        lines.append(f"  lines left out (totals, empty cells): {report.skipped:,}")
    return "\n".join([*lines, "Detected:", *(f"  {fact}" for fact in report.detected)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.ingest",
        description="Import a bank's CSV file; what is not told is found in the file.",
    )
    parser.add_argument("file", type=Path, help="a CSV file, plain or .gz; - for standard input")
    cli_options.add_options(parser)
    return parser


if __name__ == "__main__":
    command_line.start(main)
