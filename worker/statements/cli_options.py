"""Command line options of a bank's file, and the progress lines: for ingest and categorize."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.statements.cell_parsers import find_date_format, find_encoding, parse_currency
from shared.statements.reader import DELIMITERS
from shared.statements.schema import ImportOptions

_SAY_EVERY_S = 3.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """All that a person can say about a file; `options_of` reads it."""
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


def options_from(wanted: argparse.Namespace) -> ImportOptions:
    """What was typed, checked as far as it can be without the file; ValueError if it is wrong."""
    columns = {}
    for item in wanted.map:
        name, separator, column = item.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"--map {item}: expected field=column, or field= to leave it out")
        columns[name.strip()] = column.strip()
    delimiter = wanted.delimiter
    for char, word in DELIMITERS.items():
        if delimiter in (word, char, "\\t" if char == "\t" else char):
            delimiter = char
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError("--delimiter: give one character, or comma, semicolon, tab or bar")
    if wanted.encoding is not None:
        find_encoding(wanted.encoding)
    if wanted.date_format is not None:
        find_date_format(wanted.date_format)
    if wanted.currency is not None:
        parse_currency(wanted.currency)
    return ImportOptions(
        user=wanted.user or None,
        columns=columns,
        delimiter=delimiter,
        encoding=wanted.encoding,
        date_format=wanted.date_format,
        decimal=wanted.decimal,
        sign=wanted.sign,
        currency=wanted.currency,
        account=wanted.account or None,
        rejects=wanted.rejects,
    )


@contextmanager
def progress_printer() -> Iterator[Callable[[int], None]]:
    """Tell every few seconds how far it is, also while PostgreSQL works and no row is read."""
    read, told = 0, 0
    ended = threading.Event()

    def progress(rows: int) -> None:
        nonlocal read
        read = rows

    def tell() -> None:
        nonlocal told
        while not ended.wait(_SAY_EVERY_S):
            doing = "rows read" if read != told else "rows read so far; still at work"
            told = read
            print(f"{read:,} {doing}", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield progress
    finally:
        ended.set()
        teller.join()
