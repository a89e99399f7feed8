"""What follows from the answers: figures, verdicts, and the guardrail."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace

import pytest

from shared.db.engine import transaction
from shared.db.tables import Action, Arm
from shared.experiments import arm_statistics, traffic_split, verdicts
from shared.experiments.arm_statistics import MIN_ANSWERS, MIN_USERS
from shared.experiments.traffic_split import TrafficSplit
from shared.monitoring.database_collector import DatabaseCollector
from tests.support.suggestions import add, an_arm
from worker.suggestions import guardrail

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
RUN = "20260101T000000Z-00000001"
GOOD = {"accepted": 9, "corrected": 1}
POOR = {"accepted": 5, "corrected": 5}
SELDOM = {"accepted": 3, "corrected": 0, "asked": 17, "users": 200}
OFTEN = {"accepted": 16, "corrected": 4, "users": 200}


def figures(engine, since=LONG_AGO):
    with transaction(engine) as session:
        return arm_statistics.load_statistics(session, since)


def verdict(engine, arm=Arm.MODEL, against=Arm.RULES):
    return verdicts.compare_arms(arm, against, figures(engine))


def start(engine, settings, *, canary=0.5, trial=0.0):
    """A rollout that began before the suggestions of the test are made."""
    with transaction(engine) as session:
        traffic_split.set_canary(session, settings, canary, by="test", why="")
        if trial:
            traffic_split.start_trial(session, settings, RUN, trial, by="test", why="")


def now(engine, settings):
    with transaction(engine) as session:
        return traffic_split.current(session, settings)


def metrics(services):
    families = list(DatabaseCollector(services.engine, services.registry).collect())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_arm_statistics_count_the_feedback_to_its_labels(engine, clean):
    """Forced ones are no evidence; a question that was answered is no accepted label."""
    model = {"arm": Arm.MODEL, "user_id": "a"}
    add(
        engine,
        {**model, "answer": Action.ACCEPT},
        {**model, "answer": Action.ACCEPT, "user_id": "b"},
        {**model, "answer": Action.CORRECT},
        {**model, "answer": Action.REJECT},
        {**model},
        {**model, "label": None},
        {**model, "label": None, "answer": Action.CORRECT, "user_id": "c"},
        {**model, "answer": Action.ACCEPT, "forced": True},
        {"arm": Arm.RULES, "answer": Action.REJECT},
    )
    add(engine, {**model, "answer": Action.REJECT}, ago="29 days")

    found = figures(engine, dt.datetime.now(dt.UTC) - dt.timedelta(days=28))

    one = found[Arm.MODEL]
    assert (one.users, one.suggestions, one.shown, one.answered) == (3, 7, 5, 4)
    assert (one.accepted, one.corrected, one.rejected) == (2, 1, 1)
    assert one.acceptance.value == 0.5
    assert one.acceptance.users == 2
    assert 2 * one.gain.value - 1 == pytest.approx(0.0)
    assert found[Arm.RULES].rejected == 1
    assert found[Arm.CHALLENGER].suggestions == 0


@pytest.mark.parametrize(
    ("model", "rules", "expected"),
    [
        ({**GOOD}, {**POOR}, "better"),
        ({**POOR}, {**GOOD}, "worse"),
        ({**GOOD}, {**GOOD}, "no difference seen"),
        # As often right when it speaks, and it speaks far more often.
        ({**GOOD}, {"accepted": 3, "corrected": 0, "asked": 7}, "better"),
        # Less often right when it speaks, but right about far more.
        (OFTEN, SELDOM, "mixed"),
        # More often right, because it hardly says anything.
        (SELDOM, OFTEN, "mixed"),
        ({**POOR, "users": 29}, {**GOOD}, "not enough data"),
        ({**POOR}, {"accepted": 1, "corrected": 0}, "not enough data"),
        ({**POOR}, {"accepted": 0, "corrected": 0, "users": 0}, "not enough data"),
    ],
)
def test_verdict_is_one_of_the_documented_outcomes(engine, clean, model, rules, expected):
    for arm, given in ((Arm.MODEL, model), (Arm.RULES, rules)):
        if given.get("users", 1):
            an_arm(engine, arm, **{"users": 60, "corrected": 0, **given})

    assert verdict(engine).outcome == expected


def test_verdict_without_enough_data_names_what_is_missing(engine, clean):
    an_arm(engine, Arm.MODEL, users=10, accepted=2, corrected=0)
    an_arm(engine, Arm.RULES, users=60, accepted=9, corrected=1)

    found = verdict(engine)

    missing = f"{MIN_USERS - 10} more users and {MIN_ANSWERS - 20} more answers"
    assert found.why == f"model: answers of {missing}"
    assert found.acceptance is None


def test_many_rows_of_few_users_show_no_difference(engine, clean):
    """Two thirds of 40 users accept everything, one third nothing: 4,000 rows, 40 opinions."""
    for arm, users in ((Arm.MODEL, 26), (Arm.RULES, 32)):
        an_arm(engine, arm, users=users, accepted=60, corrected=0)
        add(
            engine,
            *(
                {"arm": arm, "user_id": f"no-{arm}-{n}", "answer": Action.REJECT}
                for n in range(40 - users)
                for _ in range(60)
            ),
        )

    found = verdict(engine)

    assert found.acceptance.value == pytest.approx(-0.15, abs=0.02)
    assert found.outcome == "no difference seen"


def test_evidence_starts_at_the_last_change_of_the_split(engine, settings, clean):
    """Before it, other users were in the arms; and what is older than 28 days is forgotten."""
    an_arm(engine, Arm.MODEL, **POOR, ago="1 hour")
    an_arm(engine, Arm.RULES, **GOOD, ago="1 hour")
    start(engine, settings)

    found = figures(engine, arm_statistics.evidence_start(now(engine, settings)))

    assert found[Arm.MODEL].suggestions == found[Arm.RULES].suggestions == 0
    old = arm_statistics.evidence_start(TrafficSplit(canary=1.0))
    assert dt.datetime.now(dt.UTC) - old < dt.timedelta(days=28, minutes=1)


def test_guardrail_turns_a_worse_canary_off_once(engine, services, settings, clean):
    """By a change like any other, with the figures, and counted for the alert."""
    start(engine, settings)
    an_arm(engine, Arm.MODEL, **POOR)
    an_arm(engine, Arm.RULES, **GOOD)

    first, again = (
        guardrail.check_guardrail(engine, settings),
        guardrail.check_guardrail(engine, settings),
    )

    state = now(engine, settings)
    assert [it.arm for it in first] == [Arm.MODEL]
    assert again == []
    assert (state.canary, state.action, state.by) == (0.0, "guardrail", "guardrail")
    assert "accepted 50.0%" in state.why
    found = metrics(services)
    assert found["lm_suggest_guardrail_trips_total", "model"] == 1
    assert found["lm_suggest_guardrail_trips_total", "challenger"] == 0
    assert found["lm_suggest_canary_share",] == 0.0


def test_concurrent_guardrails_record_one_change(engine, services, settings, clean):
    start(engine, settings)
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
    assert metrics(services)["lm_suggest_guardrail_trips_total", "model"] == 1


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
    start(engine, settings)
    an_arm(engine, Arm.MODEL, **model)
    an_arm(engine, Arm.RULES, **rules)

    assert guardrail.check_guardrail(engine, settings) == []
    assert now(engine, settings).canary == 0.5


def test_forced_arms_do_not_count_for_the_guardrail(engine, settings, clean):
    """Tests of a team are no users."""
    start(engine, settings)
    an_arm(engine, Arm.MODEL, **POOR, forced=True)
    an_arm(engine, Arm.RULES, **GOOD)

    assert guardrail.check_guardrail(engine, settings) == []


@pytest.mark.parametrize("canary", [0.5, 0.0], ids=["beside the model", "beside the rules"])
def test_guardrail_drops_a_worse_challenger_and_keeps_the_canary(
    engine, services, settings, clean, canary
):
    start(engine, settings, canary=canary, trial=0.2)
    an_arm(engine, Arm.CHALLENGER, **POOR)
    an_arm(engine, Arm.MODEL if canary else Arm.RULES, **GOOD)

    guardrail.check_guardrail(engine, settings)

    state = now(engine, settings)
    assert (state.canary, state.challenger, state.trial) == (canary, None, 0.0)
    found = metrics(services)
    assert found["lm_suggest_guardrail_trips_total", "challenger"] == 1
    assert found["lm_suggest_guardrail_trips_total", "model"] == 0


def test_guardrail_ends_canary_and_trial_if_both_are_worse(engine, services, settings, clean):
    start(engine, settings, canary=0.5, trial=0.2)
    an_arm(engine, Arm.CHALLENGER, accepted=1, corrected=9)
    an_arm(engine, Arm.MODEL, **POOR)
    an_arm(engine, Arm.RULES, **GOOD)

    guardrail.check_guardrail(engine, settings)

    state = now(engine, settings)
    assert (state.canary, state.challenger) == (0.0, None)
    assert metrics(services)["lm_suggest_guardrail_trips_total", "challenger"] == 1
    assert metrics(services)["lm_suggest_guardrail_trips_total", "model"] == 1


def test_arm_ended_by_the_guardrail_stays_ended_after_a_restart(engine, settings, clean):
    """Although the environment still says that all users are in."""
    settings = replace(settings, suggest_canary=0.9)
    an_arm(engine, Arm.MODEL, **POOR)
    an_arm(engine, Arm.RULES, **GOOD)

    guardrail.check_guardrail(engine, settings)

    assert now(engine, replace(settings, suggest_canary=1.0)).canary == 0.0


def test_metrics_have_the_shares_and_the_feedback_of_each_arm(engine, services, settings, clean):
    start(engine, settings, canary=0.25, trial=0.1)
    add(engine, {"answer": Action.ACCEPT}, {"answer": Action.ACCEPT, "arm": Arm.MODEL}, {})

    found = metrics(services)

    assert found["lm_suggest_canary_share",] == 0.25
    assert found["lm_suggest_trial_share",] == 0.1
    assert found["lm_suggest_answers", "model", "accept"] == 1
    assert found["lm_suggest_answers", "challenger", "reject"] == 0
    assert len([key for key in found if key[0] == "lm_suggest_answers"]) == 9


def test_disagreements_are_counted_by_pair_and_by_the_right_side(engine, clean):
    """The commonest pair first; what nobody answered counts for neither."""
    one = {"rules_label": "Fuel", "model_label": "Coffee", "label": "Coffee"}
    right = {"answer": Action.ACCEPT, "answer_label": "Coffee"}
    add(
        engine,
        {**one},
        {**one, **right},
        {**one, "answer": Action.CORRECT, "answer_label": "Fuel"},
        {**one, "answer": Action.CORRECT, "answer_label": "Rent"},
        {**one, "answer": Action.REJECT, "answer_label": "Coffee"},
        {**one, "rules_label": "Rent"},
        {**one, "rules_label": "Coffee"},
        {**one, "rules_label": None},
    )
    add(engine, {**one, **right}, ago="8 days")

    with transaction(engine) as session:
        count, pairs = arm_statistics.load_disagreements(session, days=7)
        longer, _ = arm_statistics.load_disagreements(session, days=30)

    assert (count, longer) == (6, 7)
    assert [(it.rules_label, it.count) for it in pairs] == [("Fuel", 5), ("Rent", 1)]
    assert (pairs[0].answered, pairs[0].rules_right, pairs[0].model_right) == (3, 1, 1)
