"""The forest that serves is LightGBM's, to the last bit, without its Python package."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest

from shared.model.reranker import Reranker

LINES = np.random.default_rng(0).normal(size=(2_000, 7)).astype(np.float32)
LINES[::5, 2] = np.nan


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    right = LINES[:, 0] + np.nan_to_num(LINES[:, 2]) * LINES[:, 1] > 0
    params = {"objective": "binary", "num_leaves": 15, "verbosity": -1, "num_threads": 1}
    return lightgbm.train(params, lightgbm.Dataset(LINES, right), num_boost_round=60)


@pytest.fixture(scope="module")
def forest(booster: lightgbm.Booster) -> Reranker:
    return Reranker(booster.model_to_string())


def test_scores_are_those_of_lightgbm(booster: lightgbm.Booster, forest: Reranker) -> None:
    assert np.array_equal(forest.scores(LINES), booster.predict(LINES, raw_score=True))
    assert np.array_equal(forest.scores(LINES[3:4]), booster.predict(LINES[3:4], raw_score=True))


def test_contributions_are_those_of_lightgbm_and_sum_to_the_scores(
    booster: lightgbm.Booster, forest: Reranker
) -> None:
    told = forest.contributions(LINES)

    assert np.array_equal(told, booster.predict(LINES, pred_contrib=True))
    assert np.allclose(told.sum(axis=1), forest.scores(LINES))


def test_threads_can_share_a_reranker(forest: Reranker) -> None:
    alone = forest.scores(LINES)

    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(forest.scores, [LINES] * 20))
        told = list(pool.map(forest.contributions, [LINES] * 4))

    assert all(np.array_equal(score, alone) for score in scores)
    assert all(np.array_equal(each, told[0]) for each in told)


def test_invalid_reranker_text_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"^LightGBM: "):
        Reranker("hello")


def test_answering_imports_neither_pandas_nor_scikit_learn() -> None:
    """They would cost each web process a second at its start and a hundred megabytes."""
    code = """
import sys
from shared.features.extract import RawTransaction, features_of
from shared.model.reranker import Reranker
import shared.model.explain, shared.model.classifier, web.app
Reranker(sys.stdin.read()).scores(__import__("numpy").zeros((1, 7), "float32"))
print(*{"pandas", "sklearn", "lightgbm", "scipy.optimize"} & set(sys.modules))
"""
    text = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(LINES, LINES[:, 0] > 0),
        num_boost_round=2,
    ).model_to_string()

    ran = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True)

    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "", "")
