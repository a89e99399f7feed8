"""The command line options of an import, and its progress output."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.statements.cell_parsers import find_date_format, find_encoding, parse_currency
from shared.statements.layout import DELIMITERS
from shared.statements.schema import ImportOptions

_INTERVAL_S = 3.0


def parse_args(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, ImportOptions]:
    """Add the options of an import and parse a command line; a wrong one ends the process."""
    parser.add_argument("--user", help="whose transactions these are")
    parser.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN")
    parser.add_argument("--delimiter", help="one character, or: comma, semicolon, tab, bar")
    parser.add_argument("--encoding")
    parser.add_argument("--date-format", help="such as dd/mm/yyyy")
    parser.add_argument("--decimal", choices=(".", ","))
    parser.add_argument("--sign", choices=("spend-positive", "spend-negative"))
    parser.add_argument("--currency", help="where the file names none, such as EUR")
    parser.add_argument("--account", help="the account the file is of")
    parser.add_argument("--rejects", type=Path, metavar="PATH")
    args = parser.parse_args(argv)
    try:
        return args, _import_options(args)
    except ValueError as error:
        parser.error(str(error))


def _import_options(args: argparse.Namespace) -> ImportOptions:
    """The options, checked as far as is possible without the file; ValueError if one is wrong."""
    columns = {}
    for item in args.map:
        name, separator, column = item.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"--map {item}: expected field=column, or field= to leave it out")
        columns[name.strip()] = column.strip()
    delimiter = args.delimiter
    for char, word in DELIMITERS.items():
        if delimiter in (word, char, "\\t" if char == "\t" else char):
            delimiter = char
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError("--delimiter: give one character, or comma, semicolon, tab or bar")
    if args.encoding is not None:
        find_encoding(args.encoding)
    if args.date_format is not None:
        find_date_format(args.date_format)
    if args.currency is not None:
        parse_currency(args.currency)
    return ImportOptions(
        user=args.user or None,
        columns=columns,
        delimiter=delimiter,
        encoding=args.encoding,
        date_format=args.date_format,
        decimal=args.decimal,
        sign=args.sign,
        currency=args.currency,
        account=args.account or None,
        rejects=args.rejects,
    )


@contextmanager
def progress_printer() -> Iterator[Callable[[int], None]]:
    """Print the rows read every few seconds, also while PostgreSQL works and no row is read."""
    read = printed = 0
    ended = threading.Event()

    def progress(rows: int) -> None:
        nonlocal read
        read = rows

    def print_progress() -> None:
        nonlocal printed
        while not ended.wait(_INTERVAL_S):
            state = "rows read" if read != printed else "rows read so far; still at work"
            printed = read
            print(f"{read:,} {state}", file=sys.stderr, flush=True)

    printer = threading.Thread(target=print_progress, daemon=True)
    printer.start()
    try:
        yield progress
    finally:
        ended.set()
        printer.join()
