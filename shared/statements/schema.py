"""The schema of a statement: how its rows become lines for COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from shared.statements.cell_parsers import BadCell, DecimalMark, Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The options of an import; what is None is inferred from the file."""

    user: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # field to column name
    delimiter: str | None = None
    encoding: str | None = None
    date_format: str | None = None
    decimal: DecimalMark | None = None
    sign: Sign | None = None
    currency: str | None = None
    account: str | None = None
    rejects: Path | None = None


class ColumnParser(NamedTuple):
    """Parses cells of a row into a value of the line for COPY."""

    columns: tuple[str, ...]  # of the line for COPY
    positions: tuple[int, ...]  # of the cells in a row
    parse: Callable[..., str]  # takes the cells; BadCell if they hold no such value
    parse_all: Callable[[Sequence[str]], Iterable[str]] | None = None  # where that is faster

    def parse_row(self, row: Sequence[str]) -> str:
        """The value of one row; BadCell if it has none."""
        return self.parse(*[row[position] for position in self.positions])

    def parse_row_or_none(self, row: Sequence[str]) -> str | None:
        try:
            return self.parse_row(row)
        except BadCell:
            return None

    def parse_columns(self, by_column: Sequence[Sequence[str]]) -> Iterable[str]:
        """The values of many rows, which are passed column by column."""
        cells = [by_column[position] for position in self.positions]
        return self.parse_all(*cells) if self.parse_all else map(self.parse, *cells)


class Schema(NamedTuple):
    """How the rows of one file are parsed."""

    columns: tuple[str, ...]  # of the line for COPY, after the line number
    parsers: tuple[ColumnParser, ...]
    ending: str  # of each line: the values that are the same for the whole file
    detected: tuple[str, ...]  # what was inferred, and why, in sentences for the user

    def line(self, row: Sequence[str]) -> str:
        """One row for COPY, without its number; BadCell if a cell cannot be parsed."""
        return "\t".join([parser.parse_row(row) for parser in self.parsers]) + self.ending

    def lines(self, numbers: Sequence[int], rows: Sequence[Sequence[str]]) -> str:
        """Many rows for COPY, each after its number; BadCell if a cell cannot be parsed."""
        # Column by column: a loop within C for each is a third of the time of row by row.
        by_column = list(zip(*rows, strict=True))
        parsed = [parser.parse_columns(by_column) for parser in self.parsers]
        values = zip(map(str, numbers), *parsed, strict=True)
        return self.ending.join(map("\t".join, values)) + self.ending
