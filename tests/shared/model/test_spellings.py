"""Labels are equal without case and spaces."""

from __future__ import annotations

import pytest

from shared.model.spellings import Spellings, fold_label


@pytest.mark.parametrize("spelling", ["Eating out", " eating  OUT ", "EATING\tout"])
def test_case_and_spaces_do_not_count(spelling: str) -> None:
    assert fold_label(spelling) == "eating out"


@pytest.mark.parametrize("other", ["Eatingout", "Eating in", "Éating out"])
def test_other_letters_do(other: str) -> None:
    assert fold_label(other) != fold_label("Eating out")


def test_without_spellings_nobody_has_their_own() -> None:
    assert Spellings().spelled(0, 7) is None
