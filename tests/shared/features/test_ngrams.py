"""Feature hashing gives the same columns with and without the kernel."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.features import ngrams
from shared.native import library

compiled = pytest.mark.skipif(not library.is_available(), reason="there is no C compiler here")


@compiled
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 2**32 - 1), max_size=4),
    st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("ab "), max_size=90),
    st.booleans(),
)
def test_native_and_python_columns_of_a_text_are_equal(
    hashes: list[int], text: str, in_words: bool
) -> None:
    found = ngrams.ngram_columns(hashes, text, 3, 5, in_words=in_words)

    expected = ngrams.ngram_columns_reference(hashes, text, 3, 5, in_words)
    assert found.tolist() == expected.tolist()
