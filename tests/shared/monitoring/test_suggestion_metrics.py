"""Metrics of the canary and of the feedback."""

from __future__ import annotations

from shared.db.tables import Action, Arm
from tests.support.suggestions import add, start_split, suggestion_metrics


def test_metrics_have_the_shares_and_the_feedback_of_each_arm(engine, services, settings, clean):
    start_split(engine, settings, canary=0.25, trial=0.1)
    add(engine, {"answer": Action.ACCEPT}, {"answer": Action.ACCEPT, "arm": Arm.MODEL}, {})

    found = suggestion_metrics(services)

    assert found["lm_suggest_canary_share",] == 0.25
    assert found["lm_suggest_trial_share",] == 0.1
    assert found["lm_suggest_answers", "model", "accept"] == 1
    assert found["lm_suggest_answers", "challenger", "reject"] == 0
    assert len([key for key in found if key[0] == "lm_suggest_answers"]) == 9
