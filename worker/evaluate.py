"""The report on a model: how well it does on rows it has not learned from, beside simple rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from shared.features import FeatureRow
from shared.model import Prediction
from worker.ceiling import ceiling
from worker.confidence import calibration_error, coverage, precision_curve, reliability
from worker.scores import Figures, Labels, figures

MIN_SUPPORT = 20  # labelled rows, learned and judged together; a class with fewer is not judged
TOP_CONFUSIONS = 20
TOP = 3


def report(
    rows: Sequence[FeatureRow],
    labels: Labels,
    predictions: Sequence[Prediction],
    *,
    learned_rows: Sequence[FeatureRow],
    learned_labels: Labels,
    linear: Labels,
) -> dict[str, Any]:
    """Compare *predictions* with *labels*, three sequences of n, none of them learned from.

    All figures are over the judged rows: those whose true class has MIN_SUPPORT rows or more in
    learned and judged rows together. The other classes are named with their counts.

    Args:
        linear: the answers of a simpler model that has learned the same, n of them; see
            `leanings.answers`.

    Returns:
        JSON-able: `rows` and `judged_rows` (counts), `accuracy`, `f1_macro` (over the classes that
        judged rows have), `top3_accuracy`, `calibration_error`, each 0..1 and None without a
        judged row; `reliability`, `coverage_at_95` and `precision_curve` of worker/confidence.py;
        `classes` [{label, precision, recall, f1, support, learned}], `confusions`
        [{label, predicted, count}] most frequent first, `too_rare` [{label, learned, judged}],
        `merchants` {seen, unseen}, each {rows, accuracy}, and `baselines` {most_frequent,
        merchant_lookup, linear_text_model}, each {accuracy, f1_macro}, on the same rows, with
        `best` {name, accuracy, f1_macro}, that of the best macro-F1; and `ceiling`, see there.
    """
    learned = Counter(learned_labels)
    judged = Counter(labels)
    enough = {name for name in judged if learned[name] + judged[name] >= MIN_SUPPORT}
    keep = [index for index, label in enumerate(labels) if label in enough]
    truth = [labels[index] for index in keep]
    kept = [predictions[index] for index in keep]
    merchants = [rows[index].merchant for index in keep]
    guesses = [prediction.label for prediction in kept]
    own = figures(truth, guesses)
    right = np.array(guesses, dtype=object) == np.array(truth, dtype=object)
    top = [label in _top_labels(prediction) for label, prediction in zip(truth, kept, strict=True)]
    confidence = np.array([prediction.confidence for prediction in kept], dtype=np.float64)
    most_frequent = learned.most_common(1)[0][0] if learned else ""
    lookup = _merchant_lookup(learned_rows, learned_labels)
    seen = np.array(
        [merchant in lookup and merchant != "" for merchant in merchants], dtype=np.bool_
    )
    baselines = {
        "most_frequent": figures(truth, [most_frequent] * len(truth)),
        "merchant_lookup": figures(
            truth, [lookup.get(merchant, most_frequent) for merchant in merchants]
        ),
        "linear_text_model": figures(truth, [linear[index] for index in keep]),
    }
    return {
        "rows": len(labels),
        "judged_rows": len(keep),
        **own,
        "top3_accuracy": _mean(top),
        "calibration_error": calibration_error(confidence, right) if keep else None,
        "reliability": reliability(confidence, right),
        "coverage_at_95": coverage(confidence, right) if keep else None,
        "precision_curve": precision_curve(confidence, right),
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
        "baselines": {**baselines, "best": _best(baselines)},
        "ceiling": ceiling(
            [*learned_rows, *rows],
            [*learned_labels, *labels],
            [len(learned_rows) + index for index in keep],
            own,
        ),
    }


def _best(baselines: Mapping[str, Figures]) -> dict[str, Any]:
    """The one with the best macro-F1, and its name."""
    name = max(baselines, key=lambda name: baselines[name]["f1_macro"] or 0.0)
    return {"name": name, **baselines[name]}


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
