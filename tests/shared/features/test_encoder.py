"""The encoder: each row on its own, the same columns forever."""

from __future__ import annotations

import numpy as np

from shared.features.encoder import TEXT_COLUMNS, WIDTH, Encoder, encode_text
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
