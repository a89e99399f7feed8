"""The encoder: each row on its own, the same columns forever."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from shared.features.encoder import (
    TEXT_COLUMNS,
    WIDTH,
    Encoder,
    columns_of,
    encode_text,
    word_columns,
)
from shared.features.extract import RawTransaction, features_of
from tests.shared.model.test_classifier import ODD
from tests.support.trained_models import transactions

PINNED_COLUMNS = [169, 175, 1891, 3250, 3617]


def test_a_row_is_encoded_the_same_alone_and_among_others() -> None:
    rows = transactions(50, 4)[0] + [features_of(raw) for raw in ODD]
    encoder = Encoder.fitted(encode_text(rows[:30]))

    together = encoder.encode(rows)

    assert together.shape == (len(rows), WIDTH)
    assert together.dtype == np.float32
    for index, row in enumerate(rows):
        alone = encoder.encode([row])
        assert alone.data.tobytes() == together[[index]].data.tobytes()
        assert alone.indices.tolist() == together[[index]].indices.tolist()


def test_the_columns_of_a_text_never_change() -> None:
    """Stored models depend on the hash: a changed column would silently blind them."""
    row = features_of(RawTransaction(merchant="Blue Bottle", amount=-4.5))

    columns = encode_text([row]).columns

    assert columns[:5].tolist() == PINNED_COLUMNS
    assert columns.size == len(set(columns.tolist()))


def test_text_of_a_row_has_norm_one() -> None:
    rows, _ = transactions(20, 3)
    text = Encoder.fitted(encode_text(rows)).encode(rows)[:, : 2 * TEXT_COLUMNS]

    assert np.allclose(np.sqrt(text.multiply(text).sum(axis=1)), 1)


@pytest.mark.parametrize(
    "raw",
    [
        RawTransaction(merchant="BEAN HOUSE #7", description="TIM AT THE BEAN HOUSE", amount=-4.5),
        RawTransaction(merchant="CITY PETROL " * 9, amount=-50),
        RawTransaction(merchant="Nobody Knows", mcc="5812"),
        RawTransaction(),
    ],
    ids=["known", "long", "unknown", "empty"],
)
def test_each_word_names_one_column_of_the_row(raw: RawTransaction) -> None:
    """What is cut off a long line has no column."""
    row = features_of(raw)

    columns = [column for _, column in word_columns(row)]

    assert set(columns) <= set(np.concatenate(columns_of(row)).tolist())
    assert len(set(columns)) == len(columns)
    assert all(0 <= column < WIDTH for column in columns)


def test_words_and_pairs_of_merchant_and_description_are_named() -> None:
    row = features_of(RawTransaction(merchant="TIM HORTONS #2392", description="coffee"))

    words = [text for text, _ in word_columns(row)]

    line = row.line.split()
    pairs = [f"{first} {second}" for first, second in pairwise(line)]
    assert words == [*line, *pairs, *row.norm_desc.split()]
    assert "tim hortons" in words
