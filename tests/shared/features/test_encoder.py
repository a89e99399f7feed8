"""The encoder: each row on its own, the same columns forever."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from shared.features.encoder import (
    TEXT_COLUMNS,
    WIDTH,
    Encoder,
    encode_text,
    word_columns,
)
from shared.features.extract import RawTransaction, features_of
from tests.shared.model.test_classifier import ODD
from tests.support.trained_models import transactions

KEY = b"key"
PINNED_COLUMNS = [169, 175, 1891, 3250, 3617]


def test_a_row_is_encoded_the_same_alone_and_among_others() -> None:
    rows = transactions(50, 4)[0] + [features_of(raw) for raw in ODD]
    encoder = Encoder.fitted(encode_text(rows[:30], KEY))

    together = encoder.encode(rows, KEY)

    assert together.shape == (len(rows), WIDTH)
    assert together.dtype == np.float32
    for index, row in enumerate(rows):
        alone = encoder.encode([row], KEY)
        assert alone.data.tobytes() == together[[index]].data.tobytes()
        assert alone.indices.tolist() == together[[index]].indices.tolist()


def test_the_columns_of_a_text_never_change() -> None:
    """Stored models depend on the hash: a changed column would silently blind them."""
    row = features_of(RawTransaction(merchant="Blue Bottle", amount=-4.5))

    columns = encode_text([row], KEY).columns

    assert columns[:5].tolist() == PINNED_COLUMNS
    assert columns.size == len(set(columns.tolist()))


def test_text_of_a_row_has_norm_one() -> None:
    rows, _ = transactions(20, 3)
    text = Encoder.fitted(encode_text(rows, KEY)).encode(rows, KEY)[:, : 2 * TEXT_COLUMNS]

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

    assert set(columns) <= set(encode_text([row], KEY).columns.tolist())
    assert len(set(columns)) == len(columns)
    assert all(0 <= column < WIDTH for column in columns)


def test_words_and_pairs_of_merchant_and_description_are_named() -> None:
    row = features_of(RawTransaction(merchant="TIM HORTONS #2392", description="coffee"))

    words = [text for text, _ in word_columns(row)]

    line = row.line.split()
    pairs = [f"{first} {second}" for first, second in pairwise(line)]
    assert words == [*line, *pairs, *row.norm_desc.split()]
    assert "tim hortons" in words


def columns_of(**fields: Any) -> set[int]:
    return set(encode_text([features_of(RawTransaction(**fields))], KEY).columns.tolist())


def test_shops_of_a_kind_share_a_column_and_unknown_ones_have_none() -> None:
    one_hots = [
        {column for column in columns_of(merchant=it, amount=-5) if column >= 2 * TEXT_COLUMNS}
        for it in ("STARBUCKS", "COSTA COFFEE", "SHELL OIL", "KRONTAL")
    ]
    starbucks, costa, shell, unknown = one_hots

    assert starbucks == costa
    assert len(starbucks - unknown) == len(shell - unknown) == 1
    assert starbucks != shell
    assert unknown < starbucks


@pytest.mark.parametrize(("rows", "entry"), [(999, 2.0), (1_000, 1.0)])
def test_likely_category_weighs_more_where_few_rows_are_learned(rows: int, entry: float) -> None:
    row = features_of(RawTransaction(merchant="STARBUCKS"))
    plain = features_of(RawTransaction(merchant="STARBUCKS")._replace(merchant="KRONTAL"))
    encoder = Encoder.fitted(encode_text([plain] * rows, KEY))

    one_hots = encoder.encode([row], KEY)[:, 2 * TEXT_COLUMNS :]

    assert sorted(one_hots.data.tolist()) == pytest.approx([0.3, 0.3, entry])


def test_users_and_accounts_have_columns_that_depend_on_the_key_of_the_model() -> None:
    plain = columns_of(merchant="KRONTAL")
    ada, bob = (columns_of(merchant="KRONTAL", user_id=user) - plain for user in ("ada", "bob"))
    account = columns_of(merchant="KRONTAL", account="joint") - plain
    row = features_of(RawTransaction(merchant="KRONTAL", user_id="ada"))
    elsewhere = set(encode_text([row], b"another model").columns.tolist()) - plain

    assert [len(it) for it in (ada, bob, account, elsewhere)] == [1, 1, 1, 1]
    assert len(ada | bob | account | elsewhere) == 4
