"""Candidates of a transaction: which labels are considered, and the features of each pair."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.candidates import (
    CANDIDATES,
    PAIR_FEATURES,
    ROW,
    UNKNOWN_DAY,
    CandidateGenerator,
    Candidates,
    EncodedRows,
    encode_rows,
)
from shared.model.classifier import Model
from tests.support.trained_models import train, transactions

HASH_KEY = b"key"


@pytest.fixture(scope="module")
def model() -> Model:
    """Of the four labels of 60 rows."""
    return train(60, 4)


def generate(model: Model, *rows: FeatureRow, use_native: bool = False) -> Candidates:
    generator = replace(model.generator, use_native=use_native)
    return generator.generate(encode_rows(rows, model.hash_key))


def features(candidates: Candidates, name: str) -> list[float]:
    """One feature of the candidates of the first row."""
    values: list[float] = candidates.features[0, :, PAIR_FEATURES.index(name)].tolist()
    return values


def is_equal(one: EncodedRows, other: EncodedRows) -> bool:
    return all(
        left.tobytes() == right.tobytes()
        for left, right in (
            *zip(one.text, other.text, strict=True),
            *((one.rows[name], other.rows[name]) for name in ROW.names or ()),
        )
    )


def test_rows_encoded_in_parts_and_joined_are_those_encoded_at_once() -> None:
    rows = [*transactions(20, 4)[0], features_of(RawTransaction())]
    whole = encode_rows(rows, HASH_KEY)

    parts = [whole.part(start, start + 7) for start in (0, 7, 14)]

    assert [part.size for part in parts] == [7, 7, 7]
    assert is_equal(EncodedRows.joined(parts), whole)
    assert is_equal(parts[1], encode_rows(rows[7:14], HASH_KEY))


@pytest.mark.parametrize("amount", [None, math.nan, math.inf])
def test_amount_that_is_no_number_is_encoded_as_unknown(amount: float | None) -> None:
    row = features_of(RawTransaction(merchant="KRONTAL"))._replace(amount=amount)

    encoded = encode_rows([row], HASH_KEY).rows[0]

    assert np.isnan(encoded["amount"])
    assert encoded["day"] == UNKNOWN_DAY
    assert encoded["weekday"] == 7


def test_sign_of_the_amount_is_encoded() -> None:
    rows = [features_of(RawTransaction(amount=amount)) for amount in (-9.0, 9.0)]

    spent, received = encode_rows(rows, HASH_KEY).rows

    assert spent["amount"] == -received["amount"] < 0
    assert spent["amount_bin"] != received["amount_bin"]


@pytest.mark.parametrize(("size", "expected"), [((60, 4), 4), ((800, 6), CANDIDATES)])
def test_each_candidate_is_another_label(size: tuple[int, int], expected: int) -> None:
    rows, _ = transactions(30, 5, seed=7)

    found = generate(train(*size), *rows, features_of(RawTransaction()))

    assert found.labels.shape == (31, expected)
    assert found.features.shape == (31, expected, len(PAIR_FEATURES))
    assert all(len(set(labels)) == expected for labels in found.labels.tolist())


def test_history_shares_of_a_known_shop_sum_to_one_over_its_candidates(model: Model) -> None:
    row = transactions(60, 4)[0][0]

    found = generate(model, row)

    shares = features(found, "merchant: share")
    assert sum(shares) == pytest.approx(1)
    assert max(features(found, "merchant: count")) > 0


def test_unknown_shop_without_date_or_amount_has_missing_values_not_zeros(model: Model) -> None:
    found = generate(model, features_of(RawTransaction(merchant="QUUX NOVELTIES")))

    for name in ("merchant: share", "merchant: days since", "merchant: amount off"):
        assert np.isnan(features(found, name)).all(), name
    assert {*features(found, "amount known")} == {0.0}
    assert {*features(found, "known words")} == {0.0}


def test_days_since_a_label_are_counted_from_the_date_of_the_row(model: Model) -> None:
    row = transactions(60, 4)[0][0]
    assert row.date is not None

    soon, later = (
        generate(model, row._replace(date=row.date + dt.timedelta(days=days))) for days in (0, 30)
    )

    pairs = zip(
        features(soon, "merchant: days since"), features(later, "merchant: days since"), strict=True
    )
    gaps = [after - before for before, after in pairs if not math.isnan(before)]
    assert gaps
    assert {*gaps} == {30.0}


def test_generator_read_from_its_arrays_gives_the_same_candidates(model: Model) -> None:
    rows, _ = transactions(30, 5, seed=7)

    again = CandidateGenerator.from_arrays(
        len(model.labels), model.generator.arrays(), use_native=False
    )

    expected = generate(model, *rows)
    found = again.generate(encode_rows(rows, model.hash_key))
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def test_generator_without_the_kernel_compares_nothing(model: Model) -> None:
    generator = replace(model.generator, use_native=False)

    assert generator.native_agrees(encode_rows([], model.hash_key)) is None
