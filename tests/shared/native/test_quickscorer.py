"""Scores of the kernel are equal to those of LightGBM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.model import reranker
from shared.model.candidates import encode_rows
from shared.model.classifier import Model
from shared.native import library
from shared.native.quickscorer import QuickScorer
from tests.support.trained_models import transactions
from worker.training import fit, fit_reranker

compiled = pytest.mark.skipif(not library.is_available(), reason="there is no C compiler here")


def train_booster(missing: bool, leaves: int = 15, **params: object) -> lightgbm.Booster:
    """A forest on seven features, with or without unknown ones among what it learned from."""
    rows = np.random.default_rng(0).normal(size=(3_000, 7)).astype(np.float32).round(2)
    if missing:
        rows[::3, 2] = np.nan
    right = np.nan_to_num(rows[:, 2]) + rows[:, 0] * rows[:, 1] > 0
    settings = {"objective": "binary", "num_leaves": leaves, "verbosity": -1, **params}
    return lightgbm.train(settings, lightgbm.Dataset(rows, right), num_boost_round=50)


def boundary_rows(booster: lightgbm.Booster) -> NDArray[np.float32]:
    """Rows of thresholds, of the floats next to them, and of nothing, infinity and zero."""
    thresholds = booster.trees_to_dataframe()["threshold"].dropna().to_numpy(dtype=np.float32)
    beside = [np.nextafter(thresholds, np.float32(to)) for to in (-np.inf, np.inf)]
    few = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 3e38], dtype=np.float32)
    pool = np.concatenate([thresholds, *beside, few.repeat(40)])
    return np.random.default_rng(1).choice(pool, size=(4_000, 7))


@compiled
@pytest.mark.parametrize("missing", [True, False])
def test_scores_are_those_of_lightgbm_even_at_the_thresholds(missing: bool) -> None:
    booster = train_booster(missing)
    rows = boundary_rows(booster)

    rows[:, 3] = rows[:, 3].repeat(6)[: len(rows)]  # alike in a group, as much of a row is
    trees = QuickScorer(booster.model_to_string())
    expected = booster.predict(rows, raw_score=True)

    for group in (1, 6, 7):
        assert np.array_equal(trees.scores(rows, group), expected)


@compiled
@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"leaves": 40, "min_data_in_leaf": 1}, "leaves"),
        ({"zero_as_missing": True}, "kind"),
        ({"linear_tree": True}, "linear"),
        ({"objective": "multiclass", "num_class": 3}, "not one tree an iteration"),
        ({"min_gain_to_split": 1e9}, "no tree has a split"),
    ],
)
def test_unsupported_reranker_is_scored_by_lightgbm(params: dict[str, int], why: str) -> None:
    text = train_booster(missing=True, **params).model_to_string()

    with pytest.raises(ValueError, match=why):
        QuickScorer(text)
    assert reranker.max_abs_difference(text, np.zeros((1, 6, 7), dtype=np.float32)) is None
    assert reranker.Reranker(text, max_abs_error=0.0)


@compiled
def test_training_goes_on_where_no_tree_finds_a_split() -> None:
    """Each row has a name of its own, so none of the candidates is ever right."""
    rows, _ = transactions(300, 5)

    model = fit.fit(rows, [f"name {number}" for number in range(len(rows))])

    assert model.predict_many(rows[:5]) == Model.from_files(model.to_files()).predict_many(rows[:5])


@compiled
def test_a_model_whose_forest_was_compared_uses_the_kernel(small_model: Model) -> None:
    assert small_model.max_abs_error == 0
    again = Model.from_files(small_model.to_files())
    assert again.max_abs_error == 0
    assert again.reranker
    assert again.reranker._native


@compiled
@pytest.mark.parametrize("agreement", [None, 1e-6])
def test_lightgbm_scores_where_the_kernel_was_not_equal(
    small_model: Model, agreement: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.from_files(replace(small_model, max_abs_error=agreement).to_files())
    rows = transactions(20, 5, seed=3)[0]
    expected = small_model.predict_many(rows)

    def used(*_: object) -> None:
        raise AssertionError("the kernel was used")

    monkeypatch.setattr(QuickScorer, "scores", used)

    assert model.predict_many(rows) == expected


AMONG_CANDIDATES = "apply(f, feature, rows[row * width + feature], reach)"


@compiled
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (AMONG_CANDIDATES, AMONG_CANDIDATES.replace("feature],", "feature] + 1.0f,")),
        ("if (!f->nan_is_left[at])", "if (f->nan_is_left[at])"),
        ("sum += f->leaves[", "sum += 1e-8 + f->leaves["),
        ("apply(f, feature, group[feature], common)", "apply(f, feature, -group[feature], common)"),
    ],
    ids=["candidates", "missing values", "sum", "shared features"],
)
def test_training_finds_a_kernel_whose_scores_differ_from_lightgbm(
    small_model: Model, right: str, wrong: str, faulty_kernel: Callable[[str, str], None]
) -> None:
    """It is compared as it serves: all candidates of a row in one group."""
    features = small_model.generator.generate(
        encode_rows(transactions(400, 9)[0], small_model.hash_key)
    ).features
    faulty_kernel(right, wrong)

    difference = reranker.max_abs_difference(small_model.booster_text, features)

    assert difference is not None
    assert difference > reranker.MAX_ABS_ERROR


@compiled
@pytest.mark.parametrize("rows", [20, 20_000])
def test_training_compares_whole_rows_with_all_their_candidates(
    rows: int,
) -> None:
    features = np.random.default_rng(0).normal(size=(rows, 6, 7)).astype(np.float32)
    features[:, :, 3] = features[:, :1, 3]

    sample = fit_reranker._self_test_sample(features, seed=0)

    assert sample.shape == (10_000, 6, 7)
    assert np.all(sample[:, :, 3] == sample[:, :1, 3])
