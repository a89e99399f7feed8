"""How far a model's confidence can be trusted, and how many rows it covers at which precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
PRECISION = 0.95  # of the reported coverage
CURVE_POINTS = 20

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def calibration_error(confidence: FloatArray, correct: BoolArray, bins: int = BINS) -> float:
    """Expected calibration error (ECE): 0 is perfect, 1 the worst.

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
    """The curve behind `calibration_error`: rows, mean confidence and accuracy of each bin.

    The last two are None where a bin has no rows.
    """
    index = _bin(confidence, bins)
    sums = (np.bincount(index, it, minlength=bins) for it in (confidence, correct))
    columns = zip(np.bincount(index, minlength=bins), *sums, strict=True)
    return [
        {
            "from": number / bins,
            "to": (number + 1) / bins,
            "rows": int(n),
            "confidence": float(total / n) if n else None,
            "accuracy": float(right / n) if n else None,
        }
        for number, (n, total, right) in enumerate(columns)
    ]


def coverage(
    confidence: FloatArray, correct: BoolArray, precision: float = PRECISION
) -> dict[str, Any]:
    """The largest share of rows, the most confident first, of which *precision* are right.

    Rows of one confidence are taken together: no threshold can tell them apart.

    Returns:
        `precision`; `share`, 0..1; and `confidence`, the threshold, None where no threshold is
        precise enough.
    """
    count, right, least = _by_confidence(confidence, correct)
    enough = np.flatnonzero(right / count >= precision)
    if not enough.size:
        return {"precision": precision, "share": 0.0, "confidence": None}
    share, threshold = count[enough[-1]] / confidence.size, least[enough[-1]]
    return {"precision": precision, "share": float(share), "confidence": float(threshold)}


def precision_curve(
    confidence: FloatArray, correct: BoolArray, points: int = CURVE_POINTS
) -> list[dict[str, Any]]:
    """The precision of the most confident rows, in steps of about a twentieth of all rows.

    Fewer points where many rows have the same confidence.
    """
    count, right, least = _by_confidence(confidence, correct)
    steps = np.arange(1, points + 1) * confidence.size / points
    chosen = np.unique(np.minimum(np.searchsorted(count, steps), count.size - 1))
    return [
        {
            "coverage": float(count[index] / confidence.size),
            "precision": float(right[index] / count[index]),
            "confidence": float(least[index]),
        }
        for index in (chosen if count.size else [])
    ]


def _bin(confidence: FloatArray, bins: int) -> NDArray[np.int64]:
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def _by_confidence(
    confidence: FloatArray, correct: BoolArray
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Each distinct confidence, falling: the rows with at least that, the right ones, and it."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if ranked.size else order
    return ends + 1, np.cumsum(correct[order], dtype=np.int64)[ends], ranked[ends]
