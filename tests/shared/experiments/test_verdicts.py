"""The verdict on an arm: better, worse, mixed, no difference seen, or not enough data."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.db.engine import transaction
from shared.db.tables import Action, Arm
from shared.experiments import arm_statistics, verdicts
from shared.experiments.arm_statistics import MIN_ANSWERS, MIN_USERS
from tests.support.suggestions import GOOD, OFTEN, POOR, SELDOM, add, an_arm

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def verdict(engine):
    """On the model, compared with the rules."""
    with transaction(engine) as session:
        statistics = arm_statistics.load_statistics(session, LONG_AGO)
    return verdicts.compare_arms(Arm.MODEL, Arm.RULES, statistics)


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
