"""The guardrail: it ends an arm whose verdict is worse, once, and leaves the others alone."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from shared.db.tables import Arm
from tests.support.suggestions import (
    GOOD,
    OFTEN,
    POOR,
    SELDOM,
    an_arm,
    current_split,
    start_split,
    suggestion_metrics,
)
from worker.suggestions import guardrail


def test_guardrail_turns_a_worse_canary_off_once(engine, services, settings, clean):
    """By a change like any other, with the figures, and counted for the alert."""
    start_split(engine, settings)
    an_arm(engine, Arm.MODEL, **POOR)
    an_arm(engine, Arm.RULES, **GOOD)

    first, again = (
        guardrail.check_guardrail(engine, settings),
        guardrail.check_guardrail(engine, settings),
    )

    state = current_split(engine, settings)
    assert [it.arm for it in first] == [Arm.MODEL]
    assert again == []
    assert (state.canary, state.action, state.by) == (0.0, "guardrail", "guardrail")
    assert "accepted 50.0%" in state.why
    found = suggestion_metrics(services)
    assert found["lm_suggest_guardrail_trips_total", "model"] == 1
    assert found["lm_suggest_guardrail_trips_total", "challenger"] == 0
    assert found["lm_suggest_canary_share",] == 0.0


def test_concurrent_guardrails_record_one_change(engine, services, settings, clean):
    start_split(engine, settings)
    an_arm(engine, Arm.MODEL, **POOR)
    an_arm(engine, Arm.RULES, **GOOD)
    begin, tripped = threading.Barrier(6), []

    def look():
        begin.wait()
        tripped.extend(guardrail.check_guardrail(engine, settings))

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(tripped) == 1
    assert suggestion_metrics(services)["lm_suggest_guardrail_trips_total", "model"] == 1


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ({**GOOD}, {**GOOD}),
        ({**GOOD}, {**POOR}),
        ({**POOR, "users": 20}, {**GOOD}),
        (OFTEN, SELDOM),
    ],
    ids=["no difference", "better", "not enough data", "mixed"],
)
def test_guardrail_keeps_an_arm_that_is_not_worse(engine, settings, clean, model, rules):
    start_split(engine, settings)
    an_arm(engine, Arm.MODEL, **model)
    an_arm(engine, Arm.RULES, **rules)

    assert guardrail.check_guardrail(engine, settings) == []
    assert current_split(engine, settings).canary == 0.5


def test_forced_arms_do_not_count_for_the_guardrail(engine, settings, clean):
    """Tests of a team are no users."""
    start_split(engine, settings)
    an_arm(engine, Arm.MODEL, **POOR, forced=True)
    an_arm(engine, Arm.RULES, **GOOD)

    assert guardrail.check_guardrail(engine, settings) == []


@pytest.mark.parametrize("canary", [0.5, 0.0], ids=["beside the model", "beside the rules"])
def test_guardrail_drops_a_worse_challenger_and_keeps_the_canary(
    engine, services, settings, clean, canary
):
    start_split(engine, settings, canary=canary, trial=0.2)
    an_arm(engine, Arm.CHALLENGER, **POOR)
    an_arm(engine, Arm.MODEL if canary else Arm.RULES, **GOOD)

    guardrail.check_guardrail(engine, settings)

    state = current_split(engine, settings)
    assert (state.canary, state.challenger, state.trial) == (canary, None, 0.0)
    found = suggestion_metrics(services)
    assert found["lm_suggest_guardrail_trips_total", "challenger"] == 1
    assert found["lm_suggest_guardrail_trips_total", "model"] == 0


def test_guardrail_ends_canary_and_trial_if_both_are_worse(engine, services, settings, clean):
    start_split(engine, settings, canary=0.5, trial=0.2)
    an_arm(engine, Arm.CHALLENGER, accepted=1, corrected=9)
    an_arm(engine, Arm.MODEL, **POOR)
    an_arm(engine, Arm.RULES, **GOOD)

    guardrail.check_guardrail(engine, settings)

    state = current_split(engine, settings)
    assert (state.canary, state.challenger) == (0.0, None)
    assert suggestion_metrics(services)["lm_suggest_guardrail_trips_total", "challenger"] == 1
    assert suggestion_metrics(services)["lm_suggest_guardrail_trips_total", "model"] == 1


def test_arm_ended_by_the_guardrail_stays_ended_after_a_restart(engine, settings, clean):
    """Although the environment still says that all users are in."""
    settings = replace(settings, suggest_canary=0.9)
    an_arm(engine, Arm.MODEL, **POOR)
    an_arm(engine, Arm.RULES, **GOOD)

    guardrail.check_guardrail(engine, settings)

    assert current_split(engine, replace(settings, suggest_canary=1.0)).canary == 0.0
