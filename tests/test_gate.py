"""The gate lets a model go live that is good enough, and no worse than the one that is live."""

from __future__ import annotations

import pytest

from worker import gate


def beside(new: list[bool], live: list[bool]) -> gate.Comparison:
    """Two models on rows of one category, right or wrong as told."""
    truth = ["Food"] * len(new)
    return gate.compare(
        run_id="the-live-one",
        truth=truth,
        challenger=["Food" if right else "Fuel" for right in new],
        live=["Food" if right else "Fuel" for right in live],
    )


def test_a_model_below_the_threshold_is_kept_out_and_told_why():
    """The absolute part of the gate."""
    verdict = gate.judge({"f1_macro": 0.71}, threshold_f1=0.72, live=None)

    assert not verdict.passed
    assert verdict.reason == "macro-F1 0.710 is below the threshold 0.72"


def test_the_first_model_that_reaches_the_threshold_goes_live():
    """The threshold itself is enough."""
    assert gate.judge({"f1_macro": 0.72}, threshold_f1=0.72, live=None).passed


def test_a_model_of_which_no_category_can_be_judged_does_not_go_live():
    """No evidence is not good evidence."""
    verdict = gate.judge({"f1_macro": None}, threshold_f1=0.0, live=None)

    assert not verdict.passed
    assert "no category" in verdict.reason


def test_a_model_that_is_surely_worse_than_the_live_one_is_kept_out():
    """Good enough by itself, and still a step back."""
    live = beside(new=[True] * 70 + [False] * 30, live=[True] * 100)

    verdict = gate.judge({"f1_macro": 0.9}, threshold_f1=0.72, live=live)

    assert not verdict.passed
    assert "worse than the live model" in verdict.reason
    assert "the-live-one" in verdict.reason
    assert "100 rows" in verdict.reason


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

    assert gate.judge({"f1_macro": 0.9}, threshold_f1=0.72, live=live).passed


def test_too_few_new_rows_decide_nothing_and_the_verdict_says_so():
    """Twenty rows that the live model has not learned from are an anecdote."""
    live = beside(new=[False] * 20, live=[True] * 20)

    verdict = gate.judge({"f1_macro": 0.9}, threshold_f1=0.72, live=live)

    assert verdict.passed
    assert "20 rows are new to the live model, too few" in verdict.reason
