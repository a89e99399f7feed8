"""How far a model's confidence can be trusted, and how many rows it settles at which precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.registry.train_report import Coverage, CurvePoint

BINS = 15
PRECISION = 0.95  # at which coverage is told
CURVE_POINTS = 20

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def calibration_error(confidence: FloatArray, correct: BoolArray, bins: int = BINS) -> float:
    """How far stated confidence lies from observed accuracy: 0 is perfect, 1 the worst.

    Args:
        confidence: probability of the predicted class, shape (n,), each in [0, 1].
        correct: whether that class was right, shape (n,).
        bins: bins of equal width; an empty one adds nothing.

    Raises:
        ValueError: n is 0, or the shapes differ.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.

    >>> calibration_error(np.array([0.75, 0.75]), np.array([True, True]))
    0.25
    """
    if confidence.size == 0 or confidence.shape != correct.shape:
        raise ValueError(f"shapes {confidence.shape} and {correct.shape}")
    gap = np.bincount(_bin(confidence, bins), confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / confidence.size)


def reliability(
    confidence: FloatArray, correct: BoolArray, bins: int = BINS
) -> list[dict[str, Any]]:
    """The curve behind `calibration_error`, a bin each: its rows, mean confidence and accuracy.

    The last two are None where a bin has no rows.
    """
    place = _bin(confidence, bins)
    rows = np.bincount(place, minlength=bins)
    stated = np.bincount(place, confidence, minlength=bins)
    right = np.bincount(place, correct, minlength=bins)
    return [
        {
            "from": index / bins,
            "to": (index + 1) / bins,
            "rows": int(n),
            "confidence": float(stated[index] / n) if n else None,
            "accuracy": float(right[index] / n) if n else None,
        }
        for index, n in enumerate(rows)
    ]


def coverage(confidence: FloatArray, correct: BoolArray, precision: float = PRECISION) -> Coverage:
    """The largest share of rows, the surest first, of which *precision* are right.

    Rows of one confidence are taken together: no threshold can tell them apart.

    Returns:
        `precision` as asked for, `share` 0..1, and `confidence`, the least that is taken; None
        where no threshold is precise enough.
    """
    taken, right, least = _by_confidence(confidence, correct)
    enough = np.flatnonzero(right / taken >= precision)
    if not enough.size:
        return Coverage(precision=precision, share=0.0, confidence=None)
    last = enough[-1]
    share = float(taken[last] / confidence.size)
    return Coverage(precision=precision, share=share, confidence=float(least[last]))


def precision_curve(
    confidence: FloatArray, correct: BoolArray, points: int = CURVE_POINTS
) -> list[CurvePoint]:
    """How precise the surest rows are: about every twentieth of them more, up to all.

    Fewer points where many rows have the same confidence.
    """
    taken, right, least = _by_confidence(confidence, correct)
    wanted = np.arange(1, points + 1) * confidence.size / points
    chosen = np.unique(np.minimum(np.searchsorted(taken, wanted), taken.size - 1))
    return [
        CurvePoint(
            coverage=float(taken[index] / confidence.size),
            precision=float(right[index] / taken[index]),
            confidence=float(least[index]),
        )
        for index in (chosen if taken.size else [])
    ]


def _bin(confidence: FloatArray, bins: int) -> NDArray[np.int64]:
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def _by_confidence(
    confidence: FloatArray, correct: BoolArray
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """At each confidence that occurs, falling: rows with as much or more, right ones, itself."""
    order = np.argsort(-confidence, kind="stable")
    stated = confidence[order]
    ends = np.flatnonzero(np.append(stated[1:] != stated[:-1], True)) if stated.size else order
    return ends + 1, np.cumsum(correct[order], dtype=np.int64)[ends], stated[ends]
