"""The columns of a text are the same, compiled or not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import hashed, kernel

compiled = pytest.mark.skipif(not kernel.is_there(), reason="there is no C compiler here")


@compiled
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 2**32 - 1), max_size=4),
    st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("ab "), max_size=90),
    st.booleans(),
)
def test_a_text_sets_the_same_columns_with_and_without_it(
    hashes: list[int], text: str, in_words: bool
) -> None:
    assert hashed.loop() is not hashed.columns_plainly
    found = hashed.columns(hashes, text, 3, 5, in_words=in_words)

    assert found.tolist() == hashed.columns_plainly(hashes, text, 3, 5, in_words).tolist()
