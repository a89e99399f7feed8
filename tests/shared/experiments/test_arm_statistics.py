"""Statistics of an arm: what counts as evidence, and since when."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.db.engine import transaction
from shared.db.tables import Action, Arm
from shared.experiments import arm_statistics
from shared.experiments.traffic_split import TrafficSplit
from tests.support.suggestions import GOOD, POOR, add, an_arm, current_split, start_split


def statistics(engine, since):
    with transaction(engine) as session:
        return arm_statistics.load_statistics(session, since)


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

    found = statistics(engine, dt.datetime.now(dt.UTC) - dt.timedelta(days=28))

    one = found[Arm.MODEL]
    assert (one.users, one.suggestions, one.shown, one.answered) == (3, 7, 5, 4)
    assert (one.accepted, one.corrected, one.rejected) == (2, 1, 1)
    assert one.acceptance.value == 0.5
    assert one.acceptance.users == 2
    assert 2 * one.gain.value - 1 == pytest.approx(0.0)
    assert found[Arm.RULES].rejected == 1
    assert found[Arm.CHALLENGER].suggestions == 0


def test_evidence_starts_at_the_last_change_of_the_split(engine, settings, clean):
    """Before it, other users were in the arms; and what is older than 28 days is forgotten."""
    an_arm(engine, Arm.MODEL, **POOR, ago="1 hour")
    an_arm(engine, Arm.RULES, **GOOD, ago="1 hour")
    start_split(engine, settings)

    found = statistics(engine, arm_statistics.evidence_start(current_split(engine, settings)))

    assert found[Arm.MODEL].suggestions == found[Arm.RULES].suggestions == 0
    old = arm_statistics.evidence_start(TrafficSplit(canary=1.0))
    assert dt.datetime.now(dt.UTC) - old < dt.timedelta(days=28, minutes=1)


def test_disagreements_are_counted_by_pair_and_by_the_right_side(engine, clean):
    """The commonest pair first; what nobody answered counts for neither."""
    one = {"rules_label": "Fuel", "model_label": "Coffee", "label": "Coffee", "user_id": ""}
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
        count, pairs = arm_statistics.load_disagreements(session, days=7, min_users=3)
        longer, _ = arm_statistics.load_disagreements(session, days=30, min_users=3)

    assert (count, longer) == (6, 7)
    assert [(it.rules_label, it.count) for it in pairs] == [("Fuel", 5), ("Rent", 1)]
    assert (pairs[0].answered, pairs[0].rules_right, pairs[0].model_right) == (3, 1, 1)


def test_disagreements_of_few_users_are_counted_and_not_named(engine, clean):
    """A category that two people have is theirs."""
    shared, own = ({"rules_label": "Fuel", "model_label": name} for name in ("Coffee", "My secret"))
    add(
        engine,
        *({**shared, "user_id": user} for user in "abc"),
        *({**own, "user_id": user} for user in "aabb"),
    )

    with transaction(engine) as session:
        count, pairs = arm_statistics.load_disagreements(session, days=7, min_users=3)

    assert count == 7
    assert [(it.model_label, it.count) for it in pairs] == [("Coffee", 3)]
