"""Fits the reranker and its calibration on candidates that were generated for later rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray

from shared.model.calibration import Calibration
from shared.model.candidates import NO_LABEL, Candidates
from shared.model.classifier import CHUNK
from shared.model.reranker import Reranker, max_abs_difference
from worker.training.calibrate import DEFAULT_LINEAR_WEIGHT, HeldOut, calibrate
from worker.training.open_labels import LabelArray
from worker.training.parallel import FitPool

ROUNDS = 400
REPORT_ROUNDS = 5  # between two reports of progress
SMALL_ROWS = 3_000  # below, smaller trees
MIN_RERANKED_ROWS = 200  # with fewer, there is no reranker
CALIBRATE_SHARE = 0.5  # of the rows, the latest
MIN_CALIBRATE_ROWS = 20
BALANCE = 0.25  # power of n / (K n_label): more gains rare labels little, and costs accuracy
SELF_TEST_ROWS = 10_000  # rows whose candidates the kernel must score as LightGBM does

_LARGE_TREES = {"learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100}
_SMALL_TREES = {"learning_rate": 0.03, "num_leaves": 7, "min_data_in_leaf": 20}
_PARAMETERS = {
    "objective": "binary",
    # Rare labels end up in leaves of tiny hessian and huge value without these two.
    "lambda_l2": 5.0,
    "min_sum_hessian_in_leaf": 1.0,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


class RerankerFit(NamedTuple):
    """A fitted reranker."""

    booster: str  # the model as text; "" where there are too few rows for one
    agreement: float | None  # the largest difference between the native evaluation and LightGBM
    calibration: Calibration
    held_out: HeldOut | None  # the predictions for the calibration rows; None without any


def start_fit(
    pairs: Candidates, truth: LabelArray, is_open: NDArray[np.bool_], seed: int, pool: FitPool
) -> Callable[[], RerankerFit]:
    """Start to fit in *pool*; the returned function waits for the result.

    One booster serves. Another, grown without the calibration rows in half the time, is what is
    calibrated on them. Neither waits for the other: that the calibration then gives the booster no
    weight is rare.

    Args:
        truth: the label of each of n rows.
        is_open: whether each of these is open.
    """
    n = truth.size
    right, weight = np.equal(pairs.labels, truth[:, None]), _balance(truth, is_open)
    if n < MIN_RERANKED_ROWS:
        return lambda: _fit_without_booster(pairs, right, weight)
    cut = n - count_calibration_rows(n)
    # The same for both, or the calibration of one would not fit the other.
    trees = _LARGE_TREES if n * 2 >= SMALL_ROWS else _SMALL_TREES
    steps = count(1)

    def tick() -> None:
        pool.report_progress("forest", REPORT_ROUNDS * next(steps), 2 * ROUNDS)

    def calibrate_on_later() -> tuple[Calibration, HeldOut]:
        early = Candidates._make(part[:cut] for part in pairs)
        balance = _balance(truth[:cut], is_open[:cut])
        text = _grow(early, right[:cut], balance, trees, seed, tick)
        late = Candidates._make(part[cut:] for part in pairs)
        # It never serves: that the kernel agrees on some rows is enough.
        agreement = max_abs_difference(text, late.features[-CHUNK:])
        odds = Reranker(text, agreement).log_odds(late.features)
        return calibrate(late, odds, right[cut:], weight[cut:])

    serving = pool.submit(lambda: _grow(pairs, right, weight, trees, seed, tick))
    calibrating = pool.submit(calibrate_on_later)
    samples = pool.submit(lambda: _self_test_sample(pairs.features, seed))

    def wait() -> RerankerFit:
        calibration, held_out = calibrating.result()
        if not calibration.reranker:
            return RerankerFit("", None, calibration, held_out)
        text = serving.result()
        # In parts: this takes a third of the time in which the booster was grown.
        parts = np.array_split(samples.result(), pool.size)
        tests = [pool.submit(partial(max_abs_difference, text, part)) for part in parts]
        differences = [it for it in (test.result() for test in tests) if it is not None]
        return RerankerFit(text, max(differences, default=None), calibration, held_out)

    return wait


def count_calibration_rows(n: int) -> int:
    """How many of the latest of *n* rows calibrate; of few all of them, of very few none."""
    if n < MIN_RERANKED_ROWS:
        return n if n >= MIN_CALIBRATE_ROWS else 0
    return max(MIN_CALIBRATE_ROWS, round(n * CALIBRATE_SHARE))


def _fit_without_booster(
    pairs: Candidates, right: NDArray[np.bool_], weight: NDArray[np.float64]
) -> RerankerFit:
    """For few rows: the linear score alone, calibrated if that can be."""
    if len(right) < MIN_CALIBRATE_ROWS:
        return RerankerFit("", None, Calibration(0.0, DEFAULT_LINEAR_WEIGHT), None)
    return RerankerFit("", None, *calibrate(pairs, None, right, weight))


def _grow(
    pairs: Candidates,
    right: NDArray[np.bool_],
    weight: NDArray[np.float64],
    trees: dict[str, Any],
    seed: int,
    tick: Callable[[], None],
) -> str:
    """A booster, as text, that tells right candidates from wrong ones, shape (n, M).

    Rows whose truth is no candidate stay: they teach what an unusual row looks like.
    """
    params: dict[str, Any] = {**_PARAMETERS, **trees, "seed": seed}
    weights = np.repeat(weight, pairs.labels.shape[1])
    flat, is_right = pairs.features.reshape(-1, pairs.features.shape[2]), right.ravel()
    is_pair = pairs.labels.ravel() != NO_LABEL
    if not is_pair.all():
        flat, is_right, weights = flat[is_pair], is_right[is_pair], weights[is_pair]
    data = lightgbm.Dataset(flat, is_right, weight=weights, params=params)

    def report(env: Any) -> None:
        if env.iteration % REPORT_ROUNDS == 0:
            tick()

    booster = lightgbm.train(params, data, num_boost_round=ROUNDS, callbacks=[report])
    return str(booster.model_to_string())


def _balance(truth: LabelArray, is_open: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A weight for each row: of open labels, the rare count for more, since macro-F1 judges them.

    Closed labels are judged by the row; nearly all of them are rare.
    """
    weight = np.ones(truth.size)
    known = truth[is_open]
    if known.size:
        counts = np.bincount(known)
        share = known.size / (np.count_nonzero(counts) * counts[known])
        weight[is_open] = np.clip(share**BALANCE, 1 / 8, 8)
    return weight


def _self_test_sample(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """SELF_TEST_ROWS rows with all their candidates, shape (SELF_TEST_ROWS, M, f).

    Of fewer rows samples are made up: each feature, of all candidates, is that of some row.
    """
    rng = np.random.default_rng(seed)
    n, _, width = features.shape
    if n >= SELF_TEST_ROWS:
        return features[rng.choice(n, SELF_TEST_ROWS, replace=False)]
    return np.take_along_axis(features, rng.integers(n, size=(SELF_TEST_ROWS, 1, width)), axis=0)
