"""Every row of the decision table in docs/suggestions.md."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.model.classifier import LabelScore, Prediction
from shared.model.thresholds import Thresholds
from shared.rules.matcher import RuleMatch
from shared.suggestions.decision import RULE_CONFIDENCE, ColdStart, Evidence, Prior, decide
from shared.suggestions.merchant_history import LabelCount, MerchantHistory

DAY = dt.date(2026, 3, 1)
THRESHOLDS = Thresholds(
    model={"Gifts": 0.95}, model_default=0.8, memory=0.7, prior=0.7, starter=0.7
)
OWN = RuleMatch("Coffee", 'your rule "Beans"')
SHARED = RuleMatch("Snacks", 'shared rule "Kiosks"')
KNOWN = MerchantHistory({"Groceries": LabelCount(14, DAY), "Gifts": LabelCount(1, DAY)})
TORN = MerchantHistory({"Groceries": LabelCount(2, DAY), "Gifts": LabelCount(2, DAY)})
SURE = Prediction("Fuel", 0.9, (LabelScore("Groceries", 0.06), LabelScore("Travel", 0.02)))
UNSURE = Prediction("Fuel", 0.5, (LabelScore("Groceries", 0.3), LabelScore("Travel", 0.1)))
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
        Evidence(history=TORN, prediction=SURE, prior=PRIOR),
        ("Fuel", "model", "model"),
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
        Evidence(history=TORN, cold_start=STARTER),
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
        Evidence(history=MerchantHistory(TORN.counts, corrected_to="Gifts"), prediction=SURE),
        ("Gifts", "own memory", "memory"),
    ),
    "a rejected category is not offered by a rule": (
        Evidence(own_rule=OWN, prediction=SURE, rejected=frozenset({"Coffee"})),
        ("Fuel", "model", "model"),
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
            "once": Evidence(history=MerchantHistory({"Rent": LabelCount(1, DAY)})),
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
    assert [other.label for other in decision.alternatives] == ["Fuel", "Groceries", "Gifts"]
    assert all(other.confidence <= 1 - decision.confidence for other in decision.alternatives)


def test_a_decision_to_ask_has_the_confidence_of_the_best_alternative() -> None:
    decision = decide(Evidence(history=TORN, prediction=UNSURE), THRESHOLDS)

    assert decision.confidence == decision.alternatives[0].confidence
    assert len(decision.alternatives) == 3
