"""Candidates of the kernel are equal to those of the NumPy reference within 1e-6."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.candidates import CandidateGenerator, encode_rows
from shared.model.classifier import Model
from shared.native import library
from tests.support.trained_models import transactions
from worker.training import fit, open_labels

compiled = pytest.mark.skipif(not library.is_available(), reason="there is no C compiler here")

ODD = [
    RawTransaction(),
    RawTransaction(merchant="x"),
    RawTransaction(amount=0.0),
    RawTransaction(amount=1e14, date=dt.date.min),
    RawTransaction(merchant="Łódź ☃ 東京", description="to bob", mcc="5411", date=dt.date.max),
]


def model_and_rows(rows: int, categories: int) -> tuple[Model, list[FeatureRow]]:
    """A model, and rows: of its training set, of other shops, and odd ones.

    In every third category, each user has a label of their own.
    """
    known, labels = transactions(rows, categories)
    own = {f"Category {number}" for number in range(0, categories, 3)}
    labels = [
        f"{label} of {row.user_id}" if label in own else label
        for row, label in zip(known, labels, strict=True)
    ]
    others, _ = transactions(50, 5, seed=2)
    return fit.fit(known, labels), [*known[::7], *others, *map(features_of, ODD)]


@compiled
@pytest.mark.parametrize(("rows", "categories"), [(60, 1), (300, 2), (900, 7), (1_500, 90)])
def test_native_and_reference_candidates_are_equal(rows: int, categories: int) -> None:
    model, examples = model_and_rows(rows, categories)
    inputs = encode_rows(examples, model.hash_key)

    assert model.generator.native_agrees(inputs)
    assert not replace(model.generator, use_native=False).native


@compiled
@pytest.mark.parametrize("open_columns", [1, 2, 5])
def test_candidates_are_equal_where_few_labels_have_columns(
    open_columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_labels, "OPEN_COLUMNS", open_columns)
    monkeypatch.setattr(open_labels, "CLOSED_COLUMNS", 2)
    model, examples = model_and_rows(900, 9)
    inputs = encode_rows(examples, model.hash_key)

    assert model.generator.column_count < 9
    assert (model.generator.generate(inputs).labels >= model.generator.column_count).any()
    assert model.generator.native_agrees(inputs)


@compiled
@pytest.mark.parametrize("use_native", [True, False], ids=["native", "reference"])
@pytest.mark.parametrize(("rows", "categories"), [(60, 1), (300, 2), (1_500, 90)])
def test_a_row_has_the_same_candidates_alone_and_among_others(
    rows: int, categories: int, use_native: bool
) -> None:
    model, examples = model_and_rows(rows, categories)
    generator = replace(model.generator, use_native=use_native)

    together = generator.generate(encode_rows(examples, model.hash_key))

    alone = [generator.generate(encode_rows([row], model.hash_key)) for row in examples]
    for one, many in zip(map(np.concatenate, zip(*alone, strict=True)), together, strict=True):
        assert np.array_equal(one, many, equal_nan=one.dtype.kind == "f")


@compiled
@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        RawTransaction,
        merchant=st.none() | st.text(max_size=60),
        description=st.none() | st.text(max_size=60),
        amount=st.none() | st.floats(allow_nan=True, allow_infinity=True),
        date=st.none() | st.dates(),
        mcc=st.none() | st.from_regex(r"[0-9]{4}", fullmatch=True),
        channel=st.sampled_from(("", "pos", "atm", "transfer")),
    )
)
def test_native_and_reference_candidates_of_any_transaction_are_equal(
    small_model: Model, raw: RawTransaction
) -> None:
    assert small_model.generator.native_agrees(
        encode_rows([features_of(raw)], small_model.hash_key)
    )


@pytest.mark.parametrize("use_native", [True, False], ids=["native", "reference"])
def test_no_rows_have_no_candidates(small_model: Model, use_native: bool) -> None:
    generator = replace(small_model.generator, use_native=use_native)

    assert generator.generate(encode_rows([], small_model.hash_key)).labels.shape == (0, 6)


@compiled
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("votes[label] += g->", "votes[label] -= g->"),
        ("score[labels[j]] > score[label]", "score[labels[j]] >= score[label]"),
        ("rows->amount - g->pair_last", "rows->amount + g->pair_last"),
        ("isnan(rows->amount) ? 0 : 1", "1"),
        ("rows->weekday * d + label", "label"),
        ("rows->day == g->unknown_day ? NAN", "0 ? NAN"),
        ("known += g->known[columns[at]] != 0", "known += 1"),
        ("1 / sum", "1.00001 / sum"),
        ("votes[j] = -1; /* a closed", "votes[j] = shares[j]; /* a closed"),
        ("g->is_open[label] ? 1 : 0", "1"),
    ],
    ids=[
        "votes",
        "ranks",
        "amounts",
        "no amount",
        "weekdays",
        "no date",
        "unknown grams",
        "shares",
        "closed labels",
        "open",
    ],
)
def test_training_finds_a_kernel_whose_candidates_differ_from_the_reference(
    right: str, wrong: str, faulty_kernel: Callable[[str, str], None]
) -> None:
    model, rows = model_and_rows(400, 9)
    rows.append(rows[0]._replace(date=None))
    faulty_kernel(right, wrong)

    again = CandidateGenerator.from_arrays(
        len(model.labels), model.generator.arrays(), use_native=True
    )

    assert again.native_agrees(encode_rows(rows, model.hash_key)) is False


@compiled
def test_a_version_trained_with_a_faulty_kernel_never_uses_it(
    small_model: Model, faulty_kernel: Callable[[str, str], None]
) -> None:
    rows, labels = transactions(400, 9)
    faulty_kernel("rows->amount - g->pair_last", "rows->amount + g->pair_last")

    for model in fit.fit_and_refit(rows, labels, learned=300):
        assert model.native_agrees is False
        assert model.generator.native is None
        assert Model.from_files(model.to_files()).generator.native is None
    assert small_model.native_agrees


@compiled
def test_a_version_whose_candidates_were_not_compared_is_served_by_the_reference(
    small_model: Model,
) -> None:
    """As older code, and code without a compiler, stored it."""
    rows = transactions(20, 5, seed=3)[0]

    again = Model.from_files(replace(small_model, native_agrees=None).to_files())

    assert small_model.generator.native
    assert again.generator.native is None
    for one, other in zip(again.predict_many(rows), small_model.predict_many(rows), strict=True):
        assert one.label == other.label
        assert one.confidence == pytest.approx(other.confidence, abs=1e-6)
