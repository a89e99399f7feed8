"""The evaluation report: how good a model is on rows it was not trained on, beside simple rules."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from shared.features.extract import FeatureRow
from shared.model.classifier import Prediction
from shared.registry.train_report import (
    Baselines,
    ClassFigures,
    Confusion,
    EvaluationReport,
    GroupFigures,
    NamedFigures,
    RareClass,
)
from worker.evaluation.calibration import calibration_error, coverage, precision_curve, reliability
from worker.evaluation.noise_ceiling import noise_ceiling
from worker.evaluation.scores import Labels, figures

MIN_SUPPORT = 20  # rows in training and evaluation together; a class with fewer is not evaluated
TOP_CONFUSIONS = 20
TOP = 3


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
            `leanings.predict_with_baseline`.
    """
    counts = pd.DataFrame({"learned": _count(learned_labels), "judged": _count(labels)})
    counts = counts.fillna(0).astype(int).sort_index()
    is_rare = counts.sum(axis=1) < MIN_SUPPORT
    table = _table(rows, labels, predictions, linear)
    table = _with_baselines(table, learned_rows, learned_labels)
    table = table[~table["label"].isin(counts.index[is_rare])]
    model = figures(table["label"], table["model"])
    confidence, is_right = table["confidence"].to_numpy(), table["is_right"].to_numpy()
    return EvaluationReport(
        rows=len(rows),
        judged_rows=len(table),
        **model,
        top3_accuracy=_mean(table["is_in_top"]),
        calibration_error=calibration_error(confidence, is_right) if len(table) else None,
        reliability=reliability(confidence, is_right),
        coverage_at_95=coverage(confidence, is_right) if len(table) else None,
        precision_curve=precision_curve(confidence, is_right),
        classes=_classes(table, counts["learned"]),
        confusions=_confusions(table),
        too_rare=[
            RareClass(label=label, learned=learned, judged=judged)
            for label, learned, judged in counts[is_rare].itertuples()
        ],
        merchants={
            "seen": _group(table[table["is_seen"]]),
            "unseen": _group(table[~table["is_seen"]]),
        },
        baselines=_baselines(table),
        ceiling=noise_ceiling(
            [*learned_rows, *rows],
            [*learned_labels, *labels],
            (table.index + len(learned_rows)).tolist(),
            model,
        ),
    )


def _count(labels: Labels) -> pd.Series[int]:
    return pd.Series(labels, dtype=object).value_counts()


def _table(
    rows: Sequence[FeatureRow],
    labels: Labels,
    predictions: Sequence[Prediction],
    linear: Labels,
) -> pd.DataFrame:
    """One line a row: what is true of it and what the models predict."""
    table = pd.DataFrame(
        {
            "merchant": [row.merchant for row in rows],
            "label": labels,
            "model": [it.label for it in predictions],
            "linear_text_model": linear,
        },
        dtype=object,
    )
    table["confidence"] = [float(it.confidence) for it in predictions]
    table["is_right"] = table["model"] == table["label"]
    others = ([other.label for other in it.alternatives[: TOP - 1]] for it in predictions)
    seconds = [label in names for label, names in zip(labels, others, strict=True)]
    table["is_in_top"] = table["is_right"] | pd.Series(seconds, dtype=bool)
    return table


def _with_baselines(
    table: pd.DataFrame, rows: Sequence[FeatureRow], labels: Labels
) -> pd.DataFrame:
    """With the predictions of two rules that know *rows*, and whether the merchant is there.

    Of labels that are equally frequent, a merchant's is the first by name.
    """
    learned = pd.DataFrame(
        {"merchant": [row.merchant for row in rows], "label": labels}, dtype=object
    )
    counts = learned.value_counts().reset_index()
    counts = counts.sort_values(["count", "label"], ascending=[False, True])
    lookup = counts.drop_duplicates("merchant").set_index("merchant")["label"]
    most_frequent = next(iter(learned["label"].mode()), "")
    return table.assign(
        is_seen=table["merchant"].isin(lookup.index) & (table["merchant"] != ""),
        most_frequent=most_frequent,
        merchant_lookup=table["merchant"].map(lookup).astype(object).fillna(most_frequent),
    )


def _baselines(table: pd.DataFrame) -> Baselines:
    names = ("most_frequent", "merchant_lookup", "linear_text_model")
    found = {name: figures(table["label"], table[name]) for name in names}
    best = max(names, key=lambda name: found[name]["f1_macro"] or 0.0)
    return Baselines(
        most_frequent=found["most_frequent"],
        merchant_lookup=found["merchant_lookup"],
        linear_text_model=found["linear_text_model"],
        best=NamedFigures(name=best, **found[best]),
    )


def _classes(table: pd.DataFrame, learned: pd.Series[int]) -> list[ClassFigures]:
    names = sorted(table["label"].unique())
    if not names:
        return []
    scores = precision_recall_fscore_support(
        table["label"], table["model"], labels=names, zero_division=0
    )
    return [
        ClassFigures(
            label=name,
            precision=float(precision),
            recall=float(recall),
            f1=float(f1),
            support=int(support),
            learned=int(learned[name]),
        )
        for name, precision, recall, f1, support in zip(names, *scores, strict=True)
    ]


def _confusions(table: pd.DataFrame) -> list[Confusion]:
    """The pairs of true and predicted class that are mixed up most often."""
    pairs = table[~table["is_right"]].value_counts(["label", "model"]).reset_index()
    pairs = pairs.sort_values(["count", "label", "model"], ascending=[False, True, True])
    return [
        Confusion(label=label, predicted=model, count=count)
        for label, model, count in pairs.head(TOP_CONFUSIONS).itertuples(index=False)
    ]


def _group(table: pd.DataFrame) -> GroupFigures:
    return GroupFigures(rows=len(table), accuracy=_mean(table["is_right"]))


def _mean(values: pd.Series[bool]) -> float | None:
    return float(values.mean()) if len(values) else None
