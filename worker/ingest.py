"""A bank's CSV file into transactions and labels, in one transaction of the database.

python -m worker.ingest bank.csv
python -m worker.ingest bank.csv.gz --user anna --map label=Rubrik --sign spend-negative
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError, OperationalError

from shared.db import make_engine
from shared.errors import InvalidInput, SettingsError
from shared.settings import Settings
from worker import cli_options
from worker.importer import ImportReport, import_csv


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    wanted = parser.parse_args(argv)
    try:
        options = cli_options.options_of(wanted)
    except ValueError as error:
        parser.error(str(error))
    is_stdin = str(wanted.file) == "-"
    source = sys.stdin.buffer if is_stdin else wanted.file
    try:
        # Nothing here needs the queue; the other settings may be absent in a shell.
        url = Settings.from_env({"REDIS_URL": "-", **os.environ}).database_url
        with cli_options.telling() as progress:
            report = import_csv(make_engine(url), source, options=options, progress=progress)
    except InvalidInput as error:
        print(f"ingest: {error}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(f"ingest: {error}", file=sys.stderr)
        return 1
    except OperationalError as error:
        print(f"ingest: PostgreSQL does not answer: {_one_line(error)}", file=sys.stderr)
        return 1
    except DBAPIError as error:
        print(f"ingest: PostgreSQL refused, nothing is imported: {_one_line(error)}",
              file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        print("ingest: broken off, nothing is imported", file=sys.stderr)
        return 130
    print(summary(report, "standard input" if is_stdin else wanted.file.name))
    return 0


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


def _one_line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.ingest",
        description="Import a bank's CSV file; what is not told is found in the file.",
    )
    parser.add_argument("file", type=Path, help="a CSV file, plain or .gz; - for standard input")
    cli_options.add_options(parser)
    return parser


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters
    with suppress(BrokenPipeError):
        raise SystemExit(main(sys.argv[1:]))
