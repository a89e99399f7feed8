"""The report, on examples small enough to work out by hand."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict

import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.classifier import LabelScore, Prediction
from shared.registry.train_report import EvaluationReport
from worker.evaluation import report as evaluation_report


def shop(name: str) -> FeatureRow:
    return features_of(RawTransaction(merchant=name, amount=-5))


def guess(label: str, confidence: float = 1.0, *others: str) -> Prediction:
    return Prediction(label, confidence, tuple(LabelScore(other, 0.0) for other in others))


@pytest.fixture
def report() -> EvaluationReport:
    """Thirty rows learned, six judged: four of coffee, one of fuel, one of a label seen twice.

    The model mixes up one coffee with fuel; the unseen shop is the coffee that it gets right.
    """
    return evaluation_report.evaluate(
        [shop(name) for name in ("bean", "bean", "bean", "newcomer", "pump", "pump")],
        ["coffee", "coffee", "coffee", "coffee", "fuel", "gifts"],
        [
            guess("coffee", 0.9, "fuel"),
            guess("coffee", 0.9, "fuel"),
            guess("fuel", 0.6, "gifts", "coffee"),
            guess("coffee", 0.9, "fuel"),
            guess("fuel", 0.8, "coffee"),
            guess("fuel", 0.8, "coffee"),
        ],
        learned_rows=[shop("bean")] * 19 + [shop("pump")] * 23 + [shop("gallery")] * 2,
        learned_labels=["coffee"] * 19 + ["fuel"] * 22 + ["coffee"] + ["gifts"] * 2,
        linear=["coffee", "coffee", "coffee", "coffee", "fuel", "coffee"],
    )


def test_accuracy_and_f1_are_over_the_classes_with_enough_rows(report: EvaluationReport) -> None:
    """Coffee: precision 1, recall 3/4, F1 6/7. Fuel: precision 1/2, recall 1, F1 2/3."""
    assert (report.rows, report.judged_rows) == (6, 5)
    assert report.accuracy == pytest.approx(4 / 5)
    assert report.f1_macro == pytest.approx((6 / 7 + 2 / 3) / 2)


def test_each_class_has_its_scores_and_row_counts(report: EvaluationReport) -> None:
    coffee, fuel = report.classes

    assert coffee == {
        "label": "coffee",
        "precision": 1.0,
        "recall": 0.75,
        "f1": pytest.approx(6 / 7),
        "support": 4,
        "learned": 20,
    }
    assert (fuel["label"], fuel["precision"], fuel["recall"]) == ("fuel", 0.5, 1.0)


def test_a_class_too_rare_to_judge_is_named_with_its_counts(report: EvaluationReport) -> None:
    assert report.too_rare == [{"label": "gifts", "learned": 2, "judged": 1}]


def test_accuracy_is_given_for_seen_and_unseen_merchants(report: EvaluationReport) -> None:
    assert report.merchants["seen"] == {"rows": 4, "accuracy": 0.75}
    assert report.merchants["unseen"] == {"rows": 1, "accuracy": 1.0}


def test_baselines_are_scored_on_the_same_rows(report: EvaluationReport) -> None:
    """Fuel is most frequent, so it is right once in five; the lookup misses only the newcomer."""
    baselines = report.baselines

    assert baselines["most_frequent"]["accuracy"] == pytest.approx(1 / 5)
    assert baselines["most_frequent"]["f1_macro"] == pytest.approx((0 + 1 / 3) / 2)
    assert baselines["merchant_lookup"]["accuracy"] == pytest.approx(4 / 5)
    assert baselines["linear_text_model"] == {"accuracy": 1.0, "f1_macro": 1.0}


def test_the_best_baseline_is_named(report: EvaluationReport) -> None:
    assert report.baselines["best"] == {
        "name": "linear_text_model",
        "accuracy": 1.0,
        "f1_macro": 1.0,
    }


def test_confused_pairs_have_their_counts(report: EvaluationReport) -> None:
    assert report.confusions == [{"label": "coffee", "predicted": "fuel", "count": 1}]


def test_second_and_third_label_count_for_top_three_accuracy(report: EvaluationReport) -> None:
    assert report.top3_accuracy == 1.0


def test_calibration_error_weighs_each_bins_gap(report: EvaluationReport) -> None:
    """0.9 three times and right: a gap of 0.3; 0.8 and right: 0.2; 0.6 and wrong: 0.6."""
    assert report.calibration_error == pytest.approx((0.3 + 0.2 + 0.6) / 5)


def test_coverage_counts_the_most_confident_rows_up_to_the_first_mistakes(
    report: EvaluationReport,
) -> None:
    """Three at 0.9 and one at 0.8 are right, the one at 0.6 is not."""
    assert report.coverage_at_95 == {"precision": 0.95, "share": 0.8, "confidence": 0.8}
    assert report.precision_curve[-1] == {"coverage": 1.0, "precision": 0.8, "confidence": 0.6}
    assert sum(bin_["rows"] for bin_ in report.reliability) == 5


def test_noise_ceiling_uses_labels_of_training_and_evaluation_rows() -> None:
    """Every fourth of bean's 80 rows is noise: in hindsight, three in four can be right.

    The model is right on half of the judged ones, and the look-up of what was learned on 3/4.
    """
    rows = [shop("bean")._replace(date=dt.date(2026, 1, 1) + dt.timedelta(n)) for n in range(80)]
    labels = ["coffee", "coffee", "coffee", "snacks"] * 20

    report = evaluation_report.evaluate(
        rows[76:],
        labels[76:],
        [guess("coffee"), guess("coffee"), guess("snacks"), guess("coffee")],
        learned_rows=rows[:76],
        learned_labels=labels[:76],
        linear=["coffee"] * 4,
    )

    assert report.accuracy == 0.5
    assert (report.ceiling["rows"], report.ceiling["accuracy"]) == (4, 0.75)


def test_the_report_is_json(report: EvaluationReport) -> None:
    assert json.loads(json.dumps(asdict(report), allow_nan=False)) == asdict(report)


def test_without_a_class_to_judge_there_are_no_figures() -> None:
    report = evaluation_report.evaluate(
        [shop("bean")],
        ["coffee"],
        [guess("fuel")],
        learned_rows=[],
        learned_labels=[],
        linear=["fuel"],
    )

    assert report.f1_macro is None
    assert report.accuracy is None
    assert report.too_rare == [{"label": "coffee", "learned": 0, "judged": 1}]
    assert report.baselines["merchant_lookup"] == {"accuracy": None, "f1_macro": None}
    assert report.baselines["best"]["f1_macro"] is None
    assert report.ceiling["f1_macro"] is None
    assert report.coverage_at_95 is None
    assert report.precision_curve == []
    json.dumps(asdict(report), allow_nan=False)


def test_single_correct_label_has_perfect_scores() -> None:
    report = evaluation_report.evaluate(
        [shop("bean")] * 10,
        ["coffee"] * 10,
        [guess("coffee")] * 10,
        learned_rows=[shop("bean")] * 40,
        learned_labels=["coffee"] * 40,
        linear=["coffee"] * 10,
    )

    assert (report.accuracy, report.f1_macro, report.calibration_error) == (1.0, 1.0, 0.0)
    assert report.confusions == []


def own_report() -> EvaluationReport:
    """Three users name a shop alike; each has a word of their own for another."""
    users = ("ada", "bob", "eve")
    learned = [
        (shop(name)._replace(user_id=user), label)
        for user in users
        for name, label in [("bean", "coffee")] * 10 + [("clinic", f"secret of {user}")] * 3
    ]
    judged = [
        ("ada", "clinic", "secret of ada", "secret of ada"),
        ("bob", "clinic", "secret of bob", "coffee"),
        ("new", "clinic", "secret of ada", ""),
        ("ada", "bean", "coffee", "COFFEE "),
        ("bob", "bean", "coffee", "secret of bob"),
    ]
    return evaluation_report.evaluate(
        [shop(name)._replace(user_id=user) for user, name, *_ in judged],
        [label for *_, label, _ in judged],
        [guess(predicted) for *_, predicted in judged],
        learned_rows=[row for row, _ in learned],
        learned_labels=[label for _, label in learned],
        linear=["coffee"] * 5,
        open_labels=["coffee"],
    )


def test_closed_labels_count_by_accuracy_within_their_users() -> None:
    """The new user never gave the label, so no model could know it; spellings are one label."""
    report = own_report()

    assert report.closed == {"rows": 3, "judged": 2, "accuracy": 0.5}
    assert report.judged_rows == 4
    assert report.accuracy == 0.5
    assert report.f1_macro == pytest.approx(2 / 3)


def test_report_names_no_closed_label() -> None:
    assert "secret" not in json.dumps(asdict(own_report()))
    assert own_report().confusions == [
        {"label": "coffee", "predicted": "(a name of one user)", "count": 1}
    ]


def test_accuracy_is_given_by_how_many_labelled_rows_the_user_had() -> None:
    report = own_report()

    assert report.users == [
        {"labelled": "11-100", "rows": 4, "accuracy": 0.5, "user_lookup": 1.0},
    ]
    assert report.baselines["user_lookup"]["accuracy"] == 1.0
