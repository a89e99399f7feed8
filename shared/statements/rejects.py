"""Rejects: the rows of a statement that cannot be imported, as a CSV file with line and reason."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from shared.statements.draft import Draft
from shared.statements.escaping import escape_formula

MAX_FIRST_REJECTS = 10


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that cannot be imported: its line in the file, and why."""

    line: int
    reason: str


def default_path(source: Path | BinaryIO) -> Path:
    """The path of the rejects if no option gives it: beside the file, or in the current folder."""
    if not isinstance(source, Path):
        return Path.cwd() / "import.rejects.csv"
    name = source.name.removesuffix(".gz")
    name = (name[:-4] if name.lower().endswith(".csv") else name) + ".rejects.csv"
    return (source.parent if os.access(source.parent, os.W_OK) else Path.cwd()) / name


class Rejects:
    """Writes the file of rejects, which is opened for the first of them."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._draft = Draft(path, name="rejects", option="--rejects")
        self._header = header
        self._writer: Any = None
        self.path: Path | None = None  # of the published file
        self.count = 0
        self.first: list[Reject] = []

    def add(self, line: int, reason: str, cells: Sequence[str]) -> None:
        self.count += 1
        if len(self.first) < MAX_FIRST_REJECTS:
            self.first.append(Reject(line, reason))
        if self._writer is None:
            self._writer = csv.writer(self._draft.open())
            self._writer.writerow(("line", "reason", *map(escape_formula, self._header)))
        self._writer.writerow((line, escape_formula(reason), *map(escape_formula, cells)))

    def sync(self) -> None:
        """Write to disk what is written so far."""
        self._draft.sync()

    def publish(self) -> None:
        """Give the file its name, if there are rejects."""
        if self._writer is not None:
            self._draft.publish()
            self.path = self._draft.path
            self.first.sort(key=lambda reject: reject.line)

    def close(self) -> None:
        """Remove the file, if it is not published."""
        self._draft.close()
