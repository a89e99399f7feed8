"""The report on a model: how well it does on rows it has not learned from, beside simple rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support

from shared.features import FeatureRow
from shared.model import Prediction

MIN_SUPPORT = 20  # labelled rows, learned and judged together; a class with fewer is not judged
TOP_CONFUSIONS = 20
TOP = 3

Labels = Sequence[str]


def report(
    rows: Sequence[FeatureRow],
    labels: Labels,
    predictions: Sequence[Prediction],
    *,
    learned_rows: Sequence[FeatureRow],
    learned_labels: Labels,
) -> dict[str, Any]:
    """Compare *predictions* with *labels*, three sequences of n, none of them learned from.

    All figures are over the judged rows: those whose true class has MIN_SUPPORT rows or more in
    learned and judged rows together. The other classes are named with their counts.

    Returns:
        JSON-able: `rows` and `judged_rows` (counts), `accuracy`, `f1_macro` (over the classes that
        judged rows have), `top3_accuracy`, `calibration_error`, each 0..1 and None without a
        judged row; `classes` [{label, precision, recall, f1, support, learned}], `confusions`
        [{label, predicted, count}] most frequent first, `too_rare` [{label, learned, judged}],
        `merchants` {seen, unseen}, each {rows, accuracy}, and `baselines` {most_frequent,
        merchant_lookup}, each {accuracy, f1_macro}, on the same rows.
    """
    learned = Counter(learned_labels)
    judged = Counter(labels)
    enough = {name for name in judged if learned[name] + judged[name] >= MIN_SUPPORT}
    keep = [index for index, label in enumerate(labels) if label in enough]
    truth = [labels[index] for index in keep]
    kept = [predictions[index] for index in keep]
    merchants = [rows[index].merchant for index in keep]
    guesses = [prediction.label for prediction in kept]
    right = np.array(guesses, dtype=object) == np.array(truth, dtype=object)
    top = [label in _top_labels(prediction) for label, prediction in zip(truth, kept, strict=True)]
    confidence = np.array([prediction.confidence for prediction in kept], dtype=np.float64)
    most_frequent = learned.most_common(1)[0][0] if learned else ""
    lookup = _merchant_lookup(learned_rows, learned_labels)
    seen = np.array([merchant in lookup for merchant in merchants], dtype=np.bool_)
    return {
        "rows": len(labels),
        "judged_rows": len(keep),
        **_figures(truth, guesses),
        "top3_accuracy": _mean(top),
        "calibration_error": calibration_error(confidence, right) if keep else None,
        "classes": _classes(truth, guesses, learned),
        "confusions": _confusions(truth, guesses),
        "too_rare": [
            {"label": name, "learned": learned[name], "judged": judged[name]}
            for name in sorted((learned.keys() | judged.keys()) - enough)
            if learned[name] + judged[name] < MIN_SUPPORT
        ],
        "merchants": {
            "seen": {"rows": int(seen.sum()), "accuracy": _mean(right[seen])},
            "unseen": {"rows": int((~seen).sum()), "accuracy": _mean(right[~seen])},
        },
        "baselines": {
            "most_frequent": _figures(truth, [most_frequent] * len(truth)),
            "merchant_lookup": _figures(
                truth, [lookup.get(merchant, most_frequent) for merchant in merchants]
            ),
        },
    }


def calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> float:
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
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / confidence.size)


def _figures(truth: Labels, guesses: Labels) -> dict[str, float | None]:
    """Accuracy, and macro-F1 over the classes that *truth* has; None where it is empty."""
    if not truth:
        return {"accuracy": None, "f1_macro": None}
    right = [guess == label for guess, label in zip(guesses, truth, strict=True)]
    f1 = f1_score(truth, guesses, labels=sorted(set(truth)), average="macro", zero_division=0)
    return {"accuracy": _mean(right), "f1_macro": float(f1)}


def _top_labels(prediction: Prediction) -> Collection[str]:
    others = [other.label for other in prediction.alternatives[: TOP - 1]]
    return (prediction.label, *others)


def _merchant_lookup(rows: Sequence[FeatureRow], labels: Labels) -> dict[str, str]:
    """The most frequent label of each merchant; of two as frequent, the first by name."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row, label in zip(rows, labels, strict=True):
        counts[row.merchant][label] += 1
    return {
        merchant: min(found, key=lambda label: (-found[label], label))
        for merchant, found in counts.items()
    }


def _classes(truth: Labels, guesses: Labels, learned: Counter[str]) -> list[dict[str, Any]]:
    names = sorted(set(truth))
    if not names:
        return []
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, guesses, labels=names, zero_division=0
    )
    return [
        {
            "label": name,
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
            "learned": learned[name],
        }
        for index, name in enumerate(names)
    ]


def _confusions(truth: Labels, guesses: Labels) -> list[dict[str, Any]]:
    """The pairs of true and predicted class that are mixed up most often."""
    pairs = zip(truth, guesses, strict=True)
    mixed_up = Counter(pair for pair in pairs if pair[0] != pair[1])
    return [
        {"label": label, "predicted": guess, "count": count}
        for (label, guess), count in sorted(mixed_up.items(), key=lambda item: (-item[1], item[0]))
    ][:TOP_CONFUSIONS]


def _mean(values: Sequence[bool] | NDArray[np.bool_]) -> float | None:
    return float(np.mean(values)) if len(values) else None
