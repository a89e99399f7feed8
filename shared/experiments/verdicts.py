"""The verdict on two arms: which is better, by people's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.db.tables import Arm
from shared.experiments.arm_statistics import ArmStatistics
from shared.experiments.ratio_intervals import Difference, difference
from shared.experiments.traffic_split import TrafficSplit

Outcome = Literal["better", "worse", "mixed", "no difference seen", "not enough data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one arm compares with another.

    Attributes:
        acceptance, gain: None without enough data. The gain is in halves: `ArmStatistics.gain`.
        why: the figures, for people.
    """

    arm: Arm
    against: Arm
    outcome: Outcome
    why: str
    acceptance: Difference | None = None
    gain: Difference | None = None


def compare_with_control(split: TrafficSplit, arms: Mapping[Arm, ArmStatistics]) -> list[Verdict]:
    """Compare the model with the rules, and the challenger with what it might replace."""
    comparisons = []
    if split.canary > 0:
        comparisons.append(compare_arms(Arm.MODEL, Arm.RULES, arms))
    if split.challenger:
        against = Arm.MODEL if split.canary > 0 else Arm.RULES
        comparisons.append(compare_arms(Arm.CHALLENGER, against, arms))
    return comparisons


def compare_arms(arm: Arm, against: Arm, arms: Mapping[Arm, ArmStatistics]) -> Verdict:
    """Compare two arms by acceptance and gain, and say in words what the figures show.

    "Worse" needs a lower acceptance and no higher gain. An arm that suggests more often suggests
    for harder cases too, and may help more at a lower acceptance: that is "mixed".
    """
    one, other = arms[arm], arms[against]
    missing = [f"{name}: {it.missing}" for name, it in ((arm, one), (against, other)) if it.missing]
    if missing:
        return Verdict(arm=arm, against=against, outcome="not enough data", why="; ".join(missing))
    acceptance = difference(one.acceptance, other.acceptance)
    gain = difference(one.gain, other.gain)
    outcome: Outcome = "no difference seen"
    if acceptance.sign * gain.sign < 0:
        outcome = "mixed"
    elif acceptance.sign > 0 or (acceptance.sign == 0 and gain.sign > 0):
        outcome = "better"
    elif acceptance.sign < 0:
        outcome = "worse"
    why = (
        f"accepted {_share_of_answers(one)} ({arm}) and {_share_of_answers(other)} ({against}): "
        f"{_percentage_points(acceptance, 100)} points; "
        f"right less wrong in 100 suggestions: {_percentage_points(gain, 200)}"
    )
    return Verdict(
        arm=arm, against=against, outcome=outcome, why=why, acceptance=acceptance, gain=gain
    )


def _share_of_answers(arm: ArmStatistics) -> str:
    return (
        f"{arm.acceptance.value or 0.0:.1%} of {arm.answered} answers "
        f"by {arm.acceptance.users} users"
    )


def _percentage_points(delta: Difference, scale: float) -> str:
    low, high = delta.anytime_interval
    return f"{scale * delta.value:+.1f}, surely {scale * low:+.1f} to {scale * high:+.1f}"
