"""The evaluation report: how good a model is on rows it was not trained on, beside baselines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from shared.features.extract import FeatureRow
from shared.model.classifier import Prediction
from shared.model.spellings import OWN, fold_label
from shared.registry.train_report import EvaluationReport
from worker.evaluation.calibration import calibration_error, coverage, precision_curve, reliability
from worker.evaluation.noise_ceiling import noise_ceiling
from worker.evaluation.scores import Labels, score

MIN_SUPPORT = 20  # rows in training and evaluation together; a class with fewer is not evaluated
TOP_CONFUSIONS = 20
TOP = 3
BASELINES = ("most_frequent", "merchant_lookup", "user_lookup", "linear_text_model")
# Groups of users: the least labelled rows of each, in training.
USER_GROUPS = {"0": 0, "1-10": 1, "11-100": 11, "more": 101}


def evaluate(
    rows: Sequence[FeatureRow],
    labels: Labels,
    predictions: Sequence[Prediction],
    *,
    learned_rows: Sequence[FeatureRow],
    learned_labels: Labels,
    linear: Labels,
    open_labels: Collection[str] | None = None,
) -> EvaluationReport:
    """Compare *predictions* with *labels*, n of each, on rows that were not used in training.

    Args:
        open_labels: the others are closed; None: all are open.
        linear: the n predictions of a simpler model that was trained on the same rows; see
            `feature_importance.predict_with_baseline`.
    """
    usual = _usual_spellings([*learned_labels, *labels])
    learned = pd.DataFrame(
        {
            "user": [row.user_id for row in learned_rows],
            "merchant": [row.merchant for row in learned_rows],
            "label": [usual[fold_label(label)] for label in learned_labels],
        },
        dtype=object,
    )
    table = _table(rows, labels, predictions, linear, learned, usual)
    if open_labels is None:
        open_labels = usual.values()
    shared = {usual.get(fold_label(it), it) for it in open_labels}
    is_open = table["label"].isin(shared)
    by_class = {"learned": learned["label"], "judged": table["label"][is_open]}
    counts = pd.DataFrame({name: it.value_counts() for name, it in by_class.items()})
    counts = counts.fillna(0).astype(int).sort_index().rename_axis("label")
    counts = counts[counts.index.isin(shared)]
    is_rare = counts.sum(axis=1) < MIN_SUPPORT
    own = table[~is_open]
    own = own[_is_known(own, learned)]
    judged_open = table[is_open & ~table["label"].isin(counts.index[is_rare])]
    judged = pd.concat([judged_open, own]).sort_index()
    scores = {
        name: {
            **score(judged["label"], judged[name]),
            "f1_macro": score(judged_open["label"], judged_open[name])["f1_macro"],
        }
        for name in ("model", *BASELINES)
    }
    model = scores.pop("model")
    best = max(BASELINES, key=lambda name: scores[name]["f1_macro"] or 0.0)
    by_merchant = {"seen": judged[judged["is_seen"]], "unseen": judged[~judged["is_seen"]]}
    confidence, is_right = judged["confidence"].to_numpy(), judged["is_right"].to_numpy()
    return EvaluationReport(
        rows=len(rows),
        judged_rows=len(judged),
        accuracy=model["accuracy"],
        f1_macro=model["f1_macro"],
        top3_accuracy=_mean(judged["is_in_top"]),
        calibration_error=calibration_error(confidence, is_right) if len(judged) else None,
        reliability=reliability(confidence, is_right),
        coverage_at_95=coverage(confidence, is_right) if len(judged) else None,
        precision_curve=precision_curve(confidence, is_right),
        classes=_classes(judged_open, counts["learned"]),
        confusions=_confusions(judged_open, shared),
        too_rare=_records(counts[is_rare].reset_index()),
        merchants={
            name: {"rows": len(group), "accuracy": _mean(group["is_right"])}
            for name, group in by_merchant.items()
        },
        baselines={**scores, "best": {"name": best, **scores[best]}},
        ceiling=noise_ceiling(
            [*learned_rows, *rows],
            [*learned["label"], *table["label"]],
            (judged_open.index + len(learned_rows)).tolist(),
            model,
        ),
        closed={
            "rows": int((~is_open).sum()),
            "judged": len(own),
            "accuracy": _mean(own["is_right"]),
        },
        users=_user_groups(judged, learned),
    )


def group_users(learned: Iterable[FeatureRow], rows: Iterable[FeatureRow]) -> list[str]:
    """How many labelled rows the user of each of *rows* has; '' for a row without a user."""
    users = pd.Series([row.user_id for row in rows], dtype=object)
    groups = _groups(pd.Series([row.user_id for row in learned], dtype=object), users)
    return [group if user else "" for group, user in zip(groups, users, strict=True)]


def _groups(learned: pd.Series[str], users: pd.Series[str]) -> list[str]:
    """The group of each user, by how often they are in *learned*."""
    labelled = users.map(learned.value_counts()).fillna(0).astype(int)
    names = list(USER_GROUPS)
    return [names[it] for it in np.digitize(labelled, list(USER_GROUPS.values())) - 1]


def _usual_spellings(labels: Labels) -> dict[str, str]:
    """The most frequent spelling of each folded label."""
    usual: dict[str, str] = {}
    for label, _ in Counter(labels).most_common():
        usual.setdefault(fold_label(label), label)
    return usual


def _is_known(table: pd.DataFrame, learned: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the user of each row gave its label in training."""
    given = set(zip(learned["user"], learned["label"], strict=True))
    pairs = zip(table["user"], table["label"], strict=True)
    return np.array([pair[0] != "" and pair in given for pair in pairs], dtype=np.bool_)


def _user_groups(table: pd.DataFrame, learned: pd.DataFrame) -> list[dict[str, Any]]:
    table = table[table["user"] != ""]
    if table.empty:
        return []
    group = _groups(learned["user"], table["user"])
    is_found = table["user_lookup"] == table["label"]
    groups = table.assign(is_found=is_found).groupby(group)
    figures = groups.agg(
        rows=("label", "size"), accuracy=("is_right", "mean"), user_lookup=("is_found", "mean")
    )
    figures = figures.reindex([name for name in USER_GROUPS if name in figures.index])
    return _records(figures.rename_axis("labelled").reset_index())


def _table(
    rows: Sequence[FeatureRow],
    labels: Labels,
    predictions: Sequence[Prediction],
    linear: Labels,
    learned: pd.DataFrame,
    usual: Mapping[str, str],
) -> pd.DataFrame:
    """One line a row: user, label, whether its merchant was seen in training, and predictions."""

    def usual_of(label: str) -> str:
        return usual.get(fold_label(label), label)

    most_frequent = next(iter(learned["label"].mode()), "")
    by_merchant = _lookup(learned, ["merchant"])
    users, merchants = [row.user_id for row in rows], [row.merchant for row in rows]
    table = pd.DataFrame(
        {
            "user": users,
            "label": list(map(usual_of, labels)),
            "model": [usual_of(it.label) for it in predictions],
            "linear_text_model": list(map(usual_of, linear)),
            "merchant_lookup": [by_merchant.get(it, most_frequent) for it in merchants],
        },
        dtype=object,
    )
    by_both, by_user = _lookup(learned, ["user", "merchant"]), _lookup(learned, ["user"])
    by_both = {key: label for key, label in by_both.items() if key[0]}
    top = [[it.label, *(other.label for other in it.alternatives[: TOP - 1])] for it in predictions]
    return table.assign(
        most_frequent=most_frequent,
        user_lookup=[
            by_both.get((user, merchant))
            or by_merchant.get(merchant)
            or (by_user.get(user) if user else None)
            or most_frequent
            for user, merchant in zip(users, merchants, strict=True)
        ],
        confidence=[float(it.confidence) for it in predictions],
        is_seen=[it != "" and it in by_merchant for it in merchants],
        is_right=table["model"] == table["label"],
        is_in_top=[
            label in map(usual_of, names) for label, names in zip(table["label"], top, strict=True)
        ],
    )


def _lookup(learned: pd.DataFrame, columns: list[str]) -> dict[Any, str]:
    """The most frequent label by the values of *columns*; of equals, the first by name."""
    counts = learned.value_counts([*columns, "label"]).reset_index()
    counts = counts.sort_values(["count", "label"], ascending=[False, True])
    best = counts.drop_duplicates(columns)
    keys = best[columns[0]] if len(columns) == 1 else zip(*map(best.get, columns), strict=True)
    return dict(zip(keys, best["label"], strict=True))


def _classes(table: pd.DataFrame, learned: pd.Series[int]) -> list[dict[str, Any]]:
    names = sorted(table["label"].unique())
    if not names:
        return []
    scores = precision_recall_fscore_support(
        table["label"], table["model"], labels=names, zero_division=0
    )
    columns = dict(zip(("precision", "recall", "f1", "support"), scores, strict=True))
    return _records(pd.DataFrame({"label": names, **columns, "learned": learned[names].to_numpy()}))


def _confusions(table: pd.DataFrame, open_labels: Collection[str]) -> list[dict[str, Any]]:
    """The pairs of true and predicted class that are mixed up most often."""
    wrong = table[~table["is_right"]]
    shown = wrong["model"].where(wrong["model"].isin(open_labels), OWN)
    pairs = wrong.assign(model=shown).value_counts(["label", "model"]).reset_index()
    pairs = pairs.sort_values(["count", "label", "model"], ascending=[False, True, True])
    return _records(pairs.head(TOP_CONFUSIONS).rename(columns={"model": "predicted"}))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary a row, of plain Python values."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _mean(values: pd.Series[bool]) -> float | None:
    return float(values.mean()) if len(values) else None
