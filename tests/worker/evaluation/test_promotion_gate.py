"""The gate lets a model go live that is good enough, and no worse than the one that is live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.registry.train_report import EvaluationReport
from worker.evaluation import promotion_gate


def report(
    f1: float | None,
    *,
    ceiling: float | None = 0.4,
    ceiling_rows: int = 400,
    baseline: float = 0.35,
) -> EvaluationReport:
    """An evaluation report of a thousand rows with these figures, and nothing else in it."""
    return EvaluationReport(
        rows=1000,
        judged_rows=1000,
        accuracy=f1,
        f1_macro=f1,
        top3_accuracy=f1,
        calibration_error=None,
        reliability=[],
        coverage_at_95=None,
        precision_curve=[],
        classes=[],
        confusions=[],
        too_rare=[],
        merchants={},
        baselines={"best": {"name": "merchant_lookup", "accuracy": None, "f1_macro": baseline}},
        ceiling={"rows": ceiling_rows, "accuracy": None, "f1_macro": ceiling},
    )


def beside(new: list[bool], live: list[bool]) -> promotion_gate.Comparison:
    """Two models on rows of one category, right or wrong as told."""
    truth = ["Food"] * len(new)
    return promotion_gate.compare(
        run_id="the-live-one",
        truth=truth,
        new=["Food" if right else "Fuel" for right in new],
        live=["Food" if right else "Fuel" for right in live],
    )


def test_model_below_the_threshold_is_refused_with_baseline_and_ceiling():
    """Hardly more than a simple rule, and not much less than the labels' noise lets anyone have."""
    verdict = promotion_gate.decide_promotion(report(0.36), threshold_f1=0.72, live=None)

    assert not verdict.passed
    assert verdict.reason == (
        "below the threshold: macro-F1 0.360, threshold 0.720, best baseline 0.350, "
        "estimated ceiling 0.400"
    )


def test_accepted_model_has_the_same_figures_in_its_reason():
    verdict = promotion_gate.decide_promotion(
        report(0.9, ceiling=0.95, baseline=0.7), threshold_f1=0.72, live=None
    )

    assert verdict.passed
    assert verdict.reason == (
        "reaches the threshold: macro-F1 0.900, threshold 0.720, best baseline 0.700, "
        "estimated ceiling 0.950"
    )


@pytest.mark.parametrize(("ceiling", "rows"), [(None, 0), (1.0, 1), (1.0, 199)])
def test_noise_ceiling_of_too_few_rows_is_left_out(ceiling: float | None, rows: int):
    """One merchant that came back, always the same, says nothing of the noise in all others."""
    found = report(0.36, ceiling=ceiling, ceiling_rows=rows)

    verdict = promotion_gate.decide_promotion(found, threshold_f1=0.72, live=None)

    assert verdict.reason.endswith("best baseline 0.350")


def test_the_first_model_that_reaches_the_threshold_goes_live():
    """The threshold itself is enough."""
    assert promotion_gate.decide_promotion(report(0.72), threshold_f1=0.72, live=None).passed


def test_model_without_a_class_large_enough_is_refused():
    """No evidence is not good evidence."""
    verdict = promotion_gate.decide_promotion(report(None), threshold_f1=0.0, live=None)

    assert not verdict.passed
    assert "no category" in verdict.reason
    assert "ML_SHARED_LABEL_USERS" not in verdict.reason


def test_refusal_says_how_a_household_shares_all_its_categories() -> None:
    closed = {"rows": 70, "judged": 0, "accuracy": None}

    verdict = promotion_gate.decide_promotion(
        replace(report(None), closed=closed), threshold_f1=0.5, live=None
    )

    assert not verdict.passed
    assert "; 70 have a category that too few users share" in verdict.reason
    assert "ML_SHARED_LABEL_USERS" in verdict.reason


def test_significantly_worse_model_is_refused():
    """Good enough by itself, and still a step back."""
    live = beside(new=[True] * 70 + [False] * 30, live=[True] * 100)

    verdict = promotion_gate.decide_promotion(report(0.9), threshold_f1=0.72, live=live)

    assert not verdict.passed
    assert "worse than the live model" in verdict.reason
    assert "the-live-one" in verdict.reason
    assert "100 rows" in verdict.reason
    assert "estimated ceiling 0.400" in verdict.reason


@pytest.mark.parametrize(
    ("new_wrong", "live_wrong"),
    [(3, 0), (0, 30), (10, 10)],
    ids=["within chance", "better", "as good"],
)
def test_a_model_that_is_no_worse_than_the_live_one_goes_live(new_wrong, live_wrong):
    """Chance alone keeps nobody out."""
    live = beside(
        new=[True] * (100 - new_wrong) + [False] * new_wrong,
        live=[False] * live_wrong + [True] * (100 - live_wrong),
    )

    assert promotion_gate.decide_promotion(report(0.9), threshold_f1=0.72, live=live).passed


def test_too_few_new_rows_are_not_compared_and_the_reason_says_so():
    """Twenty rows that the live model has not learned from are an anecdote."""
    live = beside(new=[False] * 20, live=[True] * 20)

    verdict = promotion_gate.decide_promotion(report(0.9), threshold_f1=0.72, live=live)

    assert verdict.passed
    assert "20 rows are new to the live model, too few" in verdict.reason


def own_names(f1: float | None, accuracy: float, judged: int = 900) -> EvaluationReport:
    closed = {"rows": judged, "judged": judged, "accuracy": accuracy}
    return replace(report(f1, ceiling=None), closed=closed)


def test_installation_of_own_names_goes_live_by_their_accuracy():
    verdict = promotion_gate.decide_promotion(own_names(None, 0.8), threshold_f1=0.72, live=None)

    assert verdict.passed
    assert verdict.reason == (
        "reaches the threshold: accuracy of users' own names 0.800, threshold 0.720"
    )


@pytest.mark.parametrize(
    ("f1", "accuracy", "reason"),
    [
        (0.9, 0.5, "below the threshold for names of users' own: "),
        (0.5, 0.9, "below the threshold: "),
    ],
)
def test_refusal_says_whether_shared_or_own_names_failed(f1: float, accuracy: float, reason: str):
    found = own_names(f1, accuracy)

    verdict = promotion_gate.decide_promotion(found, threshold_f1=0.72, live=None)

    assert not verdict.passed
    assert verdict.reason == (
        f"{reason}macro-F1 {f1:.3f}, accuracy of users' own names {accuracy:.3f}, "
        "threshold 0.720, best baseline 0.350"
    )


def test_a_few_own_names_do_not_decide():
    found = own_names(0.9, 0.1, judged=29)

    assert promotion_gate.decide_promotion(found, threshold_f1=0.72, live=None).passed


def test_model_that_helps_many_and_hurts_new_users_is_refused():
    """The total is better, so nobody would see it."""
    truth = ["Food"] * 400
    new = ["Fuel"] * 40 + ["Food"] * 360
    live = ["Food"] * 40 + ["Food"] * 260 + ["Fuel"] * 100
    groups = ["0"] * 40 + ["11-100"] * 360
    found = promotion_gate.compare(
        run_id="the-live-one", truth=truth, new=new, live=live, groups=groups
    )

    verdict = promotion_gate.decide_promotion(report(0.9), threshold_f1=0.72, live=found)

    assert found.only_new_right > found.only_live_right
    assert not verdict.passed
    assert verdict.reason.startswith("worse than the live model for users with 0 labelled, ")


def test_closed_labels_do_not_enter_the_compared_f1():
    found = promotion_gate.compare(
        run_id="the-live-one",
        truth=["Food", "food", "own of ada"],
        new=["Food", "FOOD ", "Food"],
        live=["Food", "Fuel", "own of ada"],
        open_labels=["Food", "Fuel"],
    )

    assert found.f1_macro == 1.0
    assert (found.only_new_right, found.only_live_right) == (1, 1)
