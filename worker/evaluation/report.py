"""The evaluation report: how good a model is on rows it was not trained on, beside baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from shared.features.extract import FeatureRow
from shared.model.classifier import Prediction
from shared.registry.train_report import EvaluationReport
from worker.evaluation.calibration import calibration_error, coverage, precision_curve, reliability
from worker.evaluation.noise_ceiling import noise_ceiling
from worker.evaluation.scores import Labels, score

MIN_SUPPORT = 20  # rows in training and evaluation together; a class with fewer is not evaluated
TOP_CONFUSIONS = 20
TOP = 3
BASELINES = ("most_frequent", "merchant_lookup", "linear_text_model")


def evaluate(
    rows: Sequence[FeatureRow],
    labels: Labels,
    predictions: Sequence[Prediction],
    *,
    learned_rows: Sequence[FeatureRow],
    learned_labels: Labels,
    linear: Labels,
) -> EvaluationReport:
    """Compare *predictions* with *labels*, n of each, on rows that were not used in training.

    Args:
        linear: the n predictions of a simpler model that was trained on the same rows; see
            `feature_importance.predict_with_baseline`.
    """
    learned = pd.DataFrame(
        {"merchant": [row.merchant for row in learned_rows], "label": learned_labels}, dtype=object
    )
    table = _table(rows, labels, predictions, linear, learned)
    by_class = {"learned": learned["label"], "judged": table["label"]}
    counts = pd.DataFrame({name: it.value_counts() for name, it in by_class.items()})
    counts = counts.fillna(0).astype(int).sort_index().rename_axis("label")
    is_rare = counts.sum(axis=1) < MIN_SUPPORT
    table = table[~table["label"].isin(counts.index[is_rare])]
    scores = {name: score(table["label"], table[name]) for name in ("model", *BASELINES)}
    model = scores.pop("model")
    best = max(BASELINES, key=lambda name: scores[name]["f1_macro"] or 0.0)
    by_merchant = {"seen": table[table["is_seen"]], "unseen": table[~table["is_seen"]]}
    confidence, is_right = table["confidence"].to_numpy(), table["is_right"].to_numpy()
    return EvaluationReport(
        rows=len(rows),
        judged_rows=len(table),
        accuracy=model["accuracy"],
        f1_macro=model["f1_macro"],
        top3_accuracy=_mean(table["is_in_top"]),
        calibration_error=calibration_error(confidence, is_right) if len(table) else None,
        reliability=reliability(confidence, is_right),
        coverage_at_95=coverage(confidence, is_right) if len(table) else None,
        precision_curve=precision_curve(confidence, is_right),
        classes=_classes(table, counts["learned"]),
        confusions=_confusions(table),
        too_rare=_records(counts[is_rare].reset_index()),
        merchants={
            name: {"rows": len(group), "accuracy": _mean(group["is_right"])}
            for name, group in by_merchant.items()
        },
        baselines={**scores, "best": {"name": best, **scores[best]}},
        ceiling=noise_ceiling(
            [*learned_rows, *rows],
            [*learned_labels, *labels],
            (table.index + len(learned_rows)).tolist(),
            model,
        ),
    )


def _table(
    rows: Sequence[FeatureRow],
    labels: Labels,
    predictions: Sequence[Prediction],
    linear: Labels,
    learned: pd.DataFrame,
) -> pd.DataFrame:
    """One line a row: its label, whether its merchant was seen in training, and the predictions.

    Of labels that are equally frequent in training, a merchant's is the first by name.
    """
    counts = learned.value_counts().reset_index()
    counts = counts.sort_values(["count", "label"], ascending=[False, True])
    lookup = counts.drop_duplicates("merchant").set_index("merchant")["label"]
    most_frequent = next(iter(learned["label"].mode()), "")
    merchant = pd.Series([row.merchant for row in rows], dtype=object)
    table = pd.DataFrame(
        {
            "label": labels,
            "model": [it.label for it in predictions],
            "linear_text_model": linear,
            "merchant_lookup": merchant.map(lookup).astype(object).fillna(most_frequent),
        },
        dtype=object,
    )
    top = ([it.label, *(other.label for other in it.alternatives[: TOP - 1])] for it in predictions)
    return table.assign(
        most_frequent=most_frequent,
        confidence=[float(it.confidence) for it in predictions],
        is_seen=merchant.isin(lookup.index) & (merchant != ""),
        is_right=table["model"] == table["label"],
        is_in_top=[label in names for label, names in zip(labels, top, strict=True)],
    )


def _classes(table: pd.DataFrame, learned: pd.Series[int]) -> list[dict[str, Any]]:
    names = sorted(table["label"].unique())
    if not names:
        return []
    scores = precision_recall_fscore_support(
        table["label"], table["model"], labels=names, zero_division=0
    )
    columns = dict(zip(("precision", "recall", "f1", "support"), scores, strict=True))
    return _records(pd.DataFrame({"label": names, **columns, "learned": learned[names].to_numpy()}))


def _confusions(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The pairs of true and predicted class that are mixed up most often."""
    pairs = table[~table["is_right"]].value_counts(["label", "model"]).reset_index()
    pairs = pairs.sort_values(["count", "label", "model"], ascending=[False, True, True])
    return _records(pairs.head(TOP_CONFUSIONS).rename(columns={"model": "predicted"}))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary a row, of plain Python values."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _mean(values: pd.Series[bool]) -> float | None:
    return float(values.mean()) if len(values) else None
