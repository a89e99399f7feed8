"""The rows that an import did not take: a CSV file of them, with line and reason."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from shared.errors import InvalidInput
from shared.statements.escaping import escape_formula

REJECTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken: its line in the file, and why."""

    line: int
    reason: str


def beside(source: Path | BinaryIO) -> Path:
    """Where rejects go if nobody says so: beside the file, or else into the current folder."""
    if not isinstance(source, Path):
        return Path.cwd() / "import.rejects.csv"
    name = source.name.removesuffix(".gz")
    name = (name[:-4] if name.lower().endswith(".csv") else name) + ".rejects.csv"
    return (source.parent if os.access(source.parent, os.W_OK) else Path.cwd()) / name


class Rejects:
    """The file of rejects: begun with the first one, and only there when all went well."""

    def __init__(self, wanted: Path, header: Sequence[str]) -> None:
        self._wanted = wanted
        self._draft = self._wanted.with_name(self._wanted.name + ".part")
        self._header = header
        self._file: TextIO | None = None
        self._writer: Any = None
        self.path: Path | None = None
        self.count = 0
        self.first: list[Reject] = []

    def add(self, line: int, reason: str, cells: Sequence[str]) -> None:
        self.count += 1
        if len(self.first) < REJECTS_SHOWN:
            self.first.append(Reject(line, reason))
        if self._file is None:
            try:
                self._file = self._draft.open(
                    "w", encoding="utf-8", errors="surrogateescape", newline=""
                )
            except OSError as error:
                raise InvalidInput(
                    f"the rejects cannot be written to {self._wanted}: {error.strerror}; "
                    "name another place with --rejects"
                ) from error
            self._writer = csv.writer(self._file)
            self._writer.writerow(("line", "reason", *map(escape_formula, self._header)))
        self._writer.writerow((line, escape_formula(reason), *map(escape_formula, cells)))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def publish(self) -> None:
        """Give the file its name; the import is committed."""
        if self._file is not None:
            self._draft.replace(self._wanted)
            self.path = self._wanted
            self.first.sort(key=lambda reject: reject.line)

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
            self._draft.unlink(missing_ok=True)
