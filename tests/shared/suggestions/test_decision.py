"""Every row of the decision table in docs/suggestions.md."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from shared.model.classifier import LabelScore, Prediction
from shared.model.thresholds import DEFAULT_REPEAT_RATES, Thresholds
from shared.rules.matcher import RuleMatch
from shared.suggestions.decision import RULE_CONFIDENCE, ColdStart, Evidence, Prior, decide
from shared.suggestions.merchant_history import LabelCount, MerchantHistory

DAY = dt.date(2026, 3, 1)
UNSURE_RATES = ((0.6,) * 4,) * 5  # repeat rates below the threshold
THRESHOLDS = Thresholds(
    model={"Gifts": 0.95}, model_default=0.8, memory=0.7, prior=0.7, starter=0.7,
    repeat_rates=((UNSURE_RATES, UNSURE_RATES), DEFAULT_REPEAT_RATES[1]),
)  # fmt: skip
OWN = RuleMatch("Coffee", 'your rule "Beans"')
SHARED = RuleMatch("Snacks", 'shared rule "Kiosks"')
KNOWN = MerchantHistory(
    {"Groceries": LabelCount(14, DAY), "Gifts": LabelCount(1, DAY)}, newest="Groceries"
)
TORN = MerchantHistory({"Groceries": LabelCount(2, DAY), "Gifts": LabelCount(1, DAY)}, "Gifts")
ONCE = MerchantHistory({"Fuel": LabelCount(1, DAY)}, "Fuel", same_text=False)
CORRECTED = TORN._replace(is_correction=True)
RARE = ((0.1,) * 4,) * 5  # repeat rates of labels that are seldom given again
SURE = Prediction("Fuel", 0.9, (LabelScore("Groceries", 0.06), LabelScore("Travel", 0.02)))
UNSURE = Prediction("Fuel", 0.5, (LabelScore("Groceries", 0.3), LabelScore("Travel", 0.1)))
OTHER = Prediction("Groceries", 0.95, ())
PRIOR = Prior("Household", 40, 41)
STARTER = ColdStart("Fuel", 0.9, "brand: Shell")

TABLE = {
    "an own rule goes before all": (
        Evidence(own_rule=OWN, history=KNOWN, shared_rule=SHARED, prediction=SURE),
        ("Coffee", "own rule", "rule"),
    ),
    "memory goes before shared rules and the model": (
        Evidence(history=KNOWN, shared_rule=SHARED, prediction=SURE),
        ("Groceries", "own memory", "memory"),
    ),
    "a merchant with several categories leaves it to the next": (
        Evidence(history=TORN, shared_rule=SHARED, prediction=SURE),
        ("Snacks", "shared rule", "rule"),
    ),
    "a shared rule goes before the model": (
        Evidence(shared_rule=SHARED, prediction=SURE),
        ("Snacks", "shared rule", "rule"),
    ),
    "a model above its threshold decides": (
        Evidence(prediction=SURE, prior=PRIOR, cold_start=STARTER),
        ("Fuel", "model", "model"),
    ),
    "a merchant with several categories asks, however sure the model and others are": (
        Evidence(history=TORN, prediction=SURE, prior=PRIOR),
        (None, "none", "none"),
    ),
    "a model may confirm a label of one's own that is not sure enough": (
        Evidence(history=ONCE, prediction=SURE, prior=PRIOR),
        ("Fuel", "model", "model"),
    ),
    "and so may other users": (
        Evidence(history=ONCE, prediction=UNSURE, prior=Prior("fuel", 40, 41)),
        ("fuel", "other users", "memory"),
    ),
    "but none may say something else": (
        Evidence(history=ONCE, prediction=OTHER, prior=PRIOR),
        (None, "none", "none"),
    ),
    "each category has its own threshold": (
        Evidence(prediction=Prediction("Gifts", 0.9, ())),
        (None, "none", "none"),
    ),
    "other users follow a model below its threshold": (
        Evidence(prediction=UNSURE, prior=PRIOR, cold_start=STARTER),
        ("Household", "other users", "memory"),
    ),
    "other users who differ decide nothing": (
        Evidence(prior=Prior("Household", 3, 6), cold_start=STARTER),
        ("Fuel", "starter", "rule"),
    ),
    "the text alone is the last layer": (
        Evidence(cold_start=STARTER),
        ("Fuel", "starter", "rule"),
    ),
    "the text alone decides nothing beside a model": (
        Evidence(prediction=UNSURE, cold_start=STARTER),
        (None, "none", "none"),
    ),
    "no layer reaches its threshold": (
        Evidence(history=TORN, prediction=UNSURE),
        (None, "none", "none"),
    ),
    "there is no evidence": (Evidence(), (None, "none", "none")),
    "a correction counts at once": (
        Evidence(history=CORRECTED, prediction=SURE),
        ("Gifts", "own memory", "memory"),
    ),
    "a rejected category is not offered by a rule": (
        Evidence(own_rule=OWN, prediction=SURE, rejected=frozenset({"Coffee"})),
        ("Fuel", "model", "model"),
    ),
    "a rejected label of one's own contradicts no other layer": (
        Evidence(history=TORN, prediction=OTHER, rejected=frozenset({"Gifts"})),
        ("Groceries", "model", "model"),
    ),
    "nor by the model, whose next candidate needs its own threshold": (
        Evidence(prediction=SURE, rejected=frozenset({"Fuel"})),
        (None, "none", "none"),
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_decision_table_holds(row: str) -> None:
    evidence, expected = TABLE[row]

    decision = decide(evidence, THRESHOLDS)

    assert (decision.label, decision.layer, decision.source) == expected
    assert decision.reasons
    offered = {decision.label, *(other.label for other in decision.alternatives)}
    assert offered.isdisjoint(evidence.rejected)


def test_a_correction_that_is_likelier_wrong_than_right_is_not_shown() -> None:
    rare = replace(THRESHOLDS, repeat_rates=((RARE, RARE), (RARE, RARE)))

    decision = decide(Evidence(history=CORRECTED), rare)

    assert decision.label is None
    assert {other.label for other in decision.alternatives} == {"Gifts", "Groceries"}


@pytest.mark.parametrize(
    ("thresholds", "label"),
    [({}, "Fuel"), ({"Fuel": 0.95}, None), ({"*": 0.95}, None), ({"*": 0.95, "Fuel": 0.5}, "Fuel")],
)
def test_thresholds_can_be_set_by_category(thresholds: dict[str, float], label: str | None) -> None:
    assert decide(Evidence(prediction=SURE), THRESHOLDS.with_overrides(thresholds)).label == label


def test_each_layer_gives_its_reason() -> None:
    reasons = {
        layer: decide(evidence, THRESHOLDS).reasons
        for layer, evidence in {
            "memory": Evidence(history=KNOWN),
            "once": Evidence(history=MerchantHistory({"Rent": LabelCount(1, DAY)}, "Rent")),
            "model": Evidence(prediction=SURE, words=lambda: ("shell", "oil")),
            "no words": Evidence(prediction=SURE),
            "others": Evidence(prior=PRIOR),
            "starter": Evidence(cold_start=STARTER),
            "unsure": Evidence(prediction=UNSURE, words=lambda: ("shell",)),
            "nothing": Evidence(),
        }.items()
    }

    assert reasons == {
        "memory": ("you chose Groceries for this merchant 14 of 15 times, last for 2026-03-01",),
        "once": ("you chose Rent for this merchant the one time, last for 2026-03-01",),
        "model": ("words: shell, oil",),
        "no words": ("amount and channel",),
        "others": ("40 of 41 users call this merchant Household",),
        "starter": ("brand: Shell",),
        "unsure": ("not sure: Fuel at 0.50, 0.80 needed", "words: shell"),
        "nothing": ("nothing is known of this merchant",),
    }


def test_alternatives_are_the_best_of_all_layers_with_no_more_than_the_confidence_left() -> None:
    decision = decide(Evidence(own_rule=OWN, history=KNOWN, prediction=SURE), THRESHOLDS)

    assert decision.confidence == RULE_CONFIDENCE
    assert [other.label for other in decision.alternatives] == ["Groceries", "Fuel", "Gifts"]
    assert all(other.confidence <= 1 - decision.confidence for other in decision.alternatives)


def test_a_decision_to_ask_has_the_confidence_of_the_best_alternative() -> None:
    decision = decide(Evidence(history=TORN, prediction=UNSURE), THRESHOLDS)

    assert decision.confidence == decision.alternatives[0].confidence
    assert len(decision.alternatives) == 3
