"""Who is in which arm, and how that is changed while everything runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from shared.db.engine import transaction
from shared.db.tables import Arm
from shared.errors import Conflict, SettingsError
from shared.experiments import traffic_split
from shared.experiments.traffic_split import TrafficSplit, assign_arm
from shared.settings import Settings
from tests.shared.test_settings import LEAST

SALT = "ledger-suggestions"
USERS = [f"user-{number}" for number in range(100_000)]
RUN = "20260101T000000Z-00000001"


def arms(state, salt=SALT, users=USERS):
    return [assign_arm(user, state, salt) for user in users]


@pytest.mark.parametrize(
    ("text", "share"),
    [("0", 0), ("1", 1), ("", 0), ("10%", 0.1), ("1%", 0.01), ("0.5%", 0.005), ("100%", 1)],
)
def test_the_documented_forms_of_a_share_are_read(text, share):
    settings = Settings.from_env({**LEAST, "SUGGEST_USE_MODEL_CANARY": text})

    assert settings.suggest_canary == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["0.1", "10", "2", "101%", "-5%", "%", "ten%", "1e1%", "100.5%", "nan%", "10 %", "on"]
)
def test_any_other_form_stops_the_start(text):
    """0.1 and 10 could mean either of two things."""
    with pytest.raises(SettingsError, match=r"SUGGEST_USE_MODEL_CANARY must be 0 .* or N%"):
        Settings.from_env({**LEAST, "SUGGEST_USE_MODEL_CANARY": text})


def test_shadow_and_salt_have_defaults():
    settings = Settings.from_env(LEAST)

    assert settings.suggest_shadow
    assert settings.suggest_salt == SALT
    assert not Settings.from_env({**LEAST, "SUGGEST_ENABLE_SHADOW": "0"}).suggest_shadow


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99, 1.0])
def test_assigned_share_of_users_equals_the_configured_one(share):
    """Within three standard deviations of drawing each user by chance; 0 and 1 exactly."""
    found = arms(TrafficSplit(canary=share)).count(Arm.MODEL)

    assert abs(found - share * len(USERS)) <= 3 * (share * (1 - share) * len(USERS)) ** 0.5


def test_users_in_an_arm_stay_in_it_when_the_share_grows():
    """For the canary, and for a trial."""
    ten = arms(TrafficSplit(canary=0.1, challenger=RUN, trial=0.05))
    fifty = arms(TrafficSplit(canary=0.5, challenger=RUN, trial=0.05))
    more = arms(TrafficSplit(canary=0.5, challenger=RUN, trial=0.3))

    assert all(
        after is Arm.MODEL for before, after in zip(ten, fifty, strict=True) if before is Arm.MODEL
    )
    assert all(
        after is Arm.CHALLENGER
        for before, after in zip(fifty, more, strict=True)
        if before is Arm.CHALLENGER
    )
    assert [it is Arm.CHALLENGER for it in ten] == [it is Arm.CHALLENGER for it in fifty]


def test_user_gets_the_same_arm_in_every_process():
    """No seed of the interpreter is in it."""
    code = (
        "from shared.experiments.traffic_split import TrafficSplit, assign_arm\n"
        f"state = TrafficSplit(canary=0.5, challenger={RUN!r}, trial=0.2)\n"
        "arms = (assign_arm(f'user-{n}', state, 'ledger-suggestions') for n in range(500))\n"
        "print(''.join(arm[0] for arm in arms))"
    )
    other_arms = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    here = arms(TrafficSplit(canary=0.5, challenger=RUN, trial=0.2), users=USERS[:500])
    assert other_arms == {"".join(arm[0] for arm in here)}


def test_trial_canary_and_salt_draw_independently():
    """A trial takes as many from the canary's users as from the others; each trial draws anew."""
    state = TrafficSplit(canary=0.5, challenger=RUN, trial=0.2)
    without, with_trial = arms(state.without_trial()), arms(state)
    other = arms(replace(state, challenger=RUN.replace("1", "2")))
    salted = arms(state.without_trial(), salt="another")

    taken = [
        before for before, after in zip(without, with_trial, strict=True) if after is Arm.CHALLENGER
    ]
    assert taken.count(Arm.MODEL) / len(taken) == pytest.approx(0.5, abs=0.02)
    both = sum(a is b is Arm.CHALLENGER for a, b in zip(with_trial, other, strict=True))
    assert both / len(USERS) == pytest.approx(0.04, abs=0.01)
    same = sum(a is b for a, b in zip(without, salted, strict=True))
    assert same / len(USERS) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("user", ["", "Zoë", "\ud800", "x" * 200])
def test_any_user_id_is_assigned_an_arm(user):
    """'' (none is known) is a user, too."""
    assert assign_arm(user, TrafficSplit(canary=1.0), "s" * 500) is Arm.MODEL
    assert assign_arm(user, TrafficSplit(canary=0.0), "") is Arm.RULES


def test_stored_change_takes_precedence_over_the_environment(engine, settings, clean):
    settings = replace(settings, suggest_canary=0.25)
    with transaction(engine) as session:
        first = traffic_split.current(session, settings)
        traffic_split.set_canary(session, settings, 0.5, by="ada", why="looks well")
    with transaction(engine) as session:
        now = traffic_split.current(session, replace(settings, suggest_canary=1.0))

    assert (first.canary, first.change, first.since) == (0.25, 0, None)
    assert (now.canary, now.action, now.by, now.why) == (0.5, "canary", "ada", "looks well")


def test_repeating_the_same_split_records_nothing(engine, settings, clean):
    """Else the evidence would begin anew with each repeat."""
    with transaction(engine) as session:
        for _ in range(3):
            traffic_split.set_canary(session, settings, 0.5, by="ada", why="go")
        changes = traffic_split.history(session)

    assert len(changes) == 1


def test_concurrent_changes_of_canary_and_trial_are_both_kept(engine, settings, clean):
    """One turns the canary up while another starts a trial, many times over."""
    start = threading.Barrier(2)

    def turn_up():
        start.wait()
        for step in range(1, 21):
            with transaction(engine) as session:
                traffic_split.set_canary(session, settings, step / 20, by="ada", why="")

    def try_out():
        start.wait()
        for step in range(1, 21):
            with transaction(engine) as session:
                traffic_split.start_trial(session, settings, RUN, step / 40, by="bob", why="")

    threads = [threading.Thread(target=turn_up), threading.Thread(target=try_out)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction(engine) as session:
        changes = traffic_split.history(session)[::-1]

    assert len(changes) == 40
    assert (changes[-1].canary, changes[-1].trial) == (1.0, 0.5)
    assert [it.canary for it in changes] == sorted(it.canary for it in changes)
    assert [it.trial for it in changes] == sorted(it.trial for it in changes)


def test_second_change_based_on_the_same_split_is_a_conflict(engine, settings, clean):
    with transaction(engine) as session:
        traffic_split.set_canary(session, settings, 0.5, by="ada", why="", expected=0)

    with pytest.raises(Conflict, match="is the newest"), transaction(engine) as session:
        traffic_split.set_canary(session, settings, 0.1, by="bob", why="", expected=0)


def test_second_trial_at_the_same_time_is_refused(engine, settings, clean):
    """And its end can be asked for twice, but not without a trial."""
    with transaction(engine) as session:
        with pytest.raises(Conflict, match="no version is on trial"):
            traffic_split.end_trial(session, settings, "drop", by="ada", why="")
        traffic_split.start_trial(session, settings, RUN, 0.1, by="ada", why="")
        with pytest.raises(Conflict, match=RUN):
            traffic_split.start_trial(session, settings, "another", 0.1, by="bob", why="")
        first = traffic_split.end_trial(session, settings, "drop", by="ada", why="")
        again = traffic_split.end_trial(session, settings, "drop", by="ada", why="")
        with pytest.raises(Conflict):
            traffic_split.end_trial(session, settings, "promote", by="ada", why="")

    assert first == again
    assert (first.challenger, first.trial) == (None, 0.0)
