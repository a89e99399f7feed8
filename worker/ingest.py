"""The command that imports a statement into transactions and labels.

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
    parser = argparse.ArgumentParser(
        prog="python -m worker.ingest",
        description="Import a bank's CSV file; what no option gives is inferred from the file.",
    )
    parser.add_argument("file", type=Path, help="a CSV file, plain or .gz; - for standard input")
    args, options = cli_options.parse_args(parser, argv)
    is_stdin = str(args.file) == "-"
    source = sys.stdin.buffer if is_stdin else args.file

    def command() -> str:
        engine = make_engine(command_settings().database_url)
        with cli_options.progress_printer() as progress:
            report = import_csv(engine, source, options=options, progress=progress)
        return summary(report, "standard input" if is_stdin else args.file.name)

    return command_line.run("ingest", command, outcome="nothing is imported")


def summary(report: ImportReport, name: str) -> str:
    """The report as text for the terminal."""
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


if __name__ == "__main__":
    command_line.start(main)
