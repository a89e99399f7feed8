"""Fits the calibration on held-out rows: the weight of each scorer, and the confidence."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from shared.model.calibration import MAX_LOG_ODDS, PROBABILITY_EPS, Calibration
from shared.model.candidates import NO_LABEL, NO_LABEL_SCORE, Candidates
from shared.model.linear import softmax

BETA_PULL = 4.0  # of the correction towards none, in rows
DEFAULT_LINEAR_WEIGHT = 1.0  # where nothing is held out


class HeldOut(NamedTuple):
    """The model's predictions for n rows that it was not trained on, shape (n,) each."""

    labels: NDArray[np.int64]  # -1: none
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


def calibrate(
    pairs: Candidates,
    odds: NDArray[np.float64] | None,
    right: NDArray[np.bool_],
    weight: NDArray[np.float64],
) -> tuple[Calibration, HeldOut]:
    """Weigh reranker and linear score by held-out likelihood, then correct the confidence.

    A reranker that learned little, as from few rows, gets the weight 0.
    """
    covered = np.any(right, axis=1)
    covered_share = min(float((covered.sum() + 1) / (covered.size + 1)), 0.999)
    calibration = replace(_weigh(pairs, odds, right, weight), candidate_recall=covered_share)
    used = odds if calibration.reranker else None
    shares = np.array(calibration.shares(pairs, used))
    best = np.arange(len(shares)), shares.argmax(axis=1)
    best_odds = np.zeros(len(shares)) if used is None else used[best]
    is_answer = pairs.labels[best] != NO_LABEL
    fitted = _fit_beta(shares[best][is_answer], best_odds[is_answer], right[best][is_answer])
    calibration = replace(calibration, beta=fitted)
    confidence = map(calibration.confidence, shares[best].tolist(), best_odds.tolist())
    of_answers = np.where(is_answer, np.fromiter(confidence, np.float64), PROBABILITY_EPS)
    return calibration, HeldOut(pairs.labels[best], of_answers, right[best])


def _fit_beta(
    share: NDArray[np.float64], odds: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Beta calibration by likelihood; four numbers, since isotonic steps would fit the noise."""
    share = np.clip(share, PROBABILITY_EPS, 1 - PROBABILITY_EPS)
    odds = np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)
    logs = np.column_stack((np.log(share), -np.log1p(-share), np.ones_like(share), odds))
    sign = np.where(right, 1.0, -1.0)
    start = np.array([1.0, 1.0, 0.0, 0.0])

    def loss(beta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (logs @ beta)
        slope = -(sign / (1 + np.exp(margin))) @ logs
        pull = beta - start  # soft, so that a few rows leave the shares nearly as they are
        fit = np.logaddexp(0, -margin).sum() + BETA_PULL / 2 * pull @ pull
        return float(fit), slope + BETA_PULL * pull

    bounds = [(0, None), (0, None), (None, None), (0, None)]
    a, b, c, d = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
    return a, b, c, d


def _weigh(
    pairs: Candidates,
    odds: NDArray[np.float64] | None,
    right: NDArray[np.bool_],
    weight: NDArray[np.float64],
) -> Calibration:
    """The weights, none below 0, under which the truth is likeliest; a convex problem.

    *weight*, shape (n,), lets rare labels count, as in the reranker. The correction of the
    confidence has none: it is to hold for the rows as they come.
    """
    scores = [pairs.linear.astype(np.float64)]
    if odds is not None:
        scores.append(odds)
    covered = np.any(right, axis=1)
    right, weight = right[covered], weight[covered]
    stacked = np.stack(scores, axis=-1)
    stacked[pairs.labels == NO_LABEL] = NO_LABEL_SCORE
    stacked = stacked[covered]
    of_truth = weight @ stacked[right]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shares = softmax(stacked @ weights)
        fit = -weight @ np.log(np.maximum(shares[right], 1e-300))
        slope = np.einsum("n,nm,nmf->f", weight, shares, stacked) - of_truth
        pull = weights - start  # a weak prior, worth one row, for the weights without evidence
        return float(fit + 0.5 * pull @ pull), slope + pull

    start = np.array([DEFAULT_LINEAR_WEIGHT, 0.0][: len(scores)])
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(scores))
    weights = fitted.x.tolist()
    return Calibration(weights[1] if odds is not None else 0.0, weights[0])
