"""A draft gets its name only when it is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.statements.draft import Draft


def test_file_has_its_name_only_after_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "copy.csv"
    path.write_text("old")
    draft = Draft(path, name="copy", option="--out")
    draft.open().write("a\udcff\n")

    assert path.read_text() == "old"
    draft.publish()

    assert path.read_bytes() == b"a\xff\n"
    assert list(tmp_path.iterdir()) == [path]


def test_draft_that_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "copy.csv", name="copy", option="--out")
    draft.open().write("half")
    draft.close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [".", "missing/copy.csv"])
def test_path_that_cannot_be_written_is_refused_with_the_option(tmp_path: Path, place: str) -> None:
    draft = Draft(tmp_path / place, name="copy", option="--out")

    with pytest.raises(InvalidInput, match=r"the copy cannot be written .* with --out"):
        draft.open()
