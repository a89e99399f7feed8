"""Rejects: the rows that were not imported, with line and reason."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from shared.statements.rejects import MAX_FIRST_REJECTS, Reject, Rejects, default_path


def test_rejects_are_written_with_their_cells_and_none_of_them_is_a_formula(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bank.rejects.csv"
    rejects = Rejects(path, ["date", "=amount"])
    rejects.add(7, "date 'x': expected a day", ["x", "=1+1"])
    rejects.publish()

    assert rejects.path == path
    head, row = csv.reader(path.read_text().splitlines())
    assert head[:3] == ["line", "reason", "date"]
    assert row[:3] == ["7", "date 'x': expected a day", "x"]
    assert not head[3].startswith("=")
    assert not row[3].startswith("=")


def test_without_rejects_there_is_no_file(tmp_path: Path) -> None:
    rejects = Rejects(tmp_path / "bank.rejects.csv", ["date"])
    rejects.publish()
    rejects.close()

    assert rejects.path is None
    assert list(tmp_path.iterdir()) == []


def test_first_rejects_are_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    rejects = Rejects(tmp_path / "bank.rejects.csv", ["date"])
    for line in range(30, 10, -1):
        rejects.add(line, "bad", [""])
    rejects.publish()

    assert rejects.count == 20
    assert rejects.first == [Reject(line, "bad") for line in range(21, 31)][:MAX_FIRST_REJECTS]


@pytest.mark.parametrize("name", ["bank.csv", "bank.CSV", "bank.csv.gz"])
def test_rejects_lie_beside_the_file(tmp_path: Path, name: str) -> None:
    assert default_path(tmp_path / name) == tmp_path / "bank.rejects.csv"


def test_rejects_of_standard_input_lie_in_the_current_folder() -> None:
    assert default_path(io.BytesIO()) == Path.cwd() / "import.rejects.csv"
