"""Calibration: from the scores of candidates to the probability that the best one is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.model.candidates import NO_LABEL, Candidates

PROBABILITY_EPS = 1e-3  # no confidence is nearer to 0 or 1
MAX_LOG_ODDS = 8.0  # of the reranker, in the correction


@dataclass(frozen=True, slots=True)
class Calibration:
    """From scores to probabilities: a softmax of two scores, then a monotone correction.

    Attributes:
        reranker: weight of the reranker's log-odds; 0 where there is no reranker.
        linear: weight of the linear score.
        candidate_recall: how often the right label is among the candidates, 0..1.
        beta: a, b, c and d of the correction of the best share s, none but c negative: the log-odds
            of being right are a log(s) - b log(1 - s) + c + d r, with the reranker's log-odds r of
            the best. (1, 1, 0, 0) changes nothing. A share alone says nothing where a user has one
            candidate.

    Source: Kull, Silva Filho, Flach, "Beta calibration", AISTATS 2017.
    """

    reranker: float
    linear: float
    candidate_recall: float = 1.0
    beta: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as stored with a version."""
        return {
            "reranker": self.reranker,
            "linear": self.linear,
            "covered": self.candidate_recall,
            "beta": self.beta,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Calibration:
        """Read what `as_json` wrote, after a trip through JSON."""
        return cls(plain["reranker"], plain["linear"], plain["covered"], tuple(plain["beta"]))

    def shares(
        self, candidates: Candidates, log_odds: NDArray[np.float64] | None
    ) -> list[list[float]]:
        """The softmax of each row's candidates, (n, M); *log_odds* of that shape, of the reranker.

        The share of NO_LABEL is 0. By numbers rather than arrays: for one row, arrays would take
        four times as long.
        """
        linear = candidates.linear.tolist()
        if log_odds is None:
            scores = [[self.linear * score for score in row] for row in linear]
        else:
            scores = [
                [self.linear * a + self.reranker * b for a, b in zip(*row, strict=True)]
                for row in zip(linear, log_odds.tolist(), strict=True)
            ]
        for row, labels in zip(scores, candidates.labels.tolist(), strict=True):
            if NO_LABEL in labels:
                row[labels.index(NO_LABEL) :] = [-math.inf] * labels.count(NO_LABEL)
        return list(map(_softmax, scores))

    def confidence(self, share: float, log_odds: float = 0.0) -> float:
        """The probability that the best candidate is right, given its share and log-odds."""
        a, b, c, d = self.beta
        share = _clip(share)
        sure = a * math.log(share) - b * math.log1p(-share) + c
        sure += d * min(max(log_odds, -MAX_LOG_ODDS), MAX_LOG_ODDS)
        return _clip(1 / (1 + math.exp(-sure)))


def _softmax(scores: list[float]) -> list[float]:
    best = max(scores)
    if best == -math.inf:
        return [0.0] * len(scores)
    odds = [math.exp(score - best) for score in scores]
    total = sum(odds)
    return [value / total for value in odds]


def _clip(probability: float) -> float:
    return min(max(probability, PROBABILITY_EPS), 1 - PROBABILITY_EPS)
