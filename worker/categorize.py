"""The command that writes the annotated copy of a statement.

python -m worker.categorize bank.csv
python -m worker.categorize bank.csv --out done.csv --user anna --map description=Text
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from shared import log
from shared.services import build
from shared.settings import command_settings
from worker import command_line
from worker.statements import cli_options
from worker.statements.annotate import Report, annotate_statement

_MAX_ITEMS = 10  # of a list in the summary


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m worker.categorize",
        description="Write a copy of a bank's CSV file with a category for each row.",
    )
    parser.add_argument("file", type=Path, help="a CSV file, plain or .gz")
    parser.add_argument("--out", type=Path, help="path of the copy; by default beside the file")
    args, options = cli_options.parse_args(parser, argv)
    log.configure("error")  # the summary is the output

    def command() -> str:
        with (
            closing(build(command_settings(), application="categorize")) as services,
            cli_options.progress_printer() as progress,
        ):
            return summary(
                annotate_statement(
                    services, args.file, args.out, options=options, progress=progress
                )
            )

    return command_line.run("categorize", command, outcome="an earlier copy is as it was")


def summary(report: Report) -> str:
    """The report as text for the terminal."""
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
        lines += [
            f"  {count:7,}  {name}" for name, count in report.categories.most_common(_MAX_ITEMS)
        ]
    for lost in report.lost[:_MAX_ITEMS]:
        where = f"line {lost.line} of the copy" if lost.line else "a row of the copy"
        lines.append(f"Not taken: {where}: {lost.reason}")
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


if __name__ == "__main__":
    command_line.start(main)
