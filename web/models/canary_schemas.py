"""What the requests about canary and trial take and answer: checked, and told to OpenAPI."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.db.tables import Arm
from shared.experiments.arm_statistics import ArmStatistics, Pair
from shared.experiments.ratio_intervals import Difference, Rate
from shared.experiments.traffic_split import TrafficSplit
from shared.experiments.verdicts import Outcome, Verdict
from shared.settings import SHARE
from web.http.schemas import Answer, Body, Identity, Reason, Whole

Share = (
    Annotated[float, Field(ge=0, le=1)] | Annotated[str, StringConstraints(pattern=f"^{SHARE}$")]
)
Part = Annotated[float, Field(ge=0, le=1)]


class CanaryRequest(Body):
    """`share` is 0, 1, "N%" or a number from 0 to 1; `expected_change` guards against another's."""

    share: Share
    why: Reason = ""
    expected_change: Annotated[int, Field(ge=0, lt=2**63), Whole] | None = None


class TrialRequest(Body):
    """Which version to try, and on which share of all users."""

    run_id: Identity
    share: Share
    why: Reason = ""


class DisagreementsQuery(BaseModel):
    """How far to look back."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=365)] = 7


class RolloutChange(Answer):
    """What held from `at` on; `change` is 0, and `at` null, where the environment says it."""

    change: int
    canary: Part
    challenger: str | None
    trial: Part
    action: str
    by: str
    why: str
    at: dt.datetime | None


class Estimate(Answer):
    """A share with its 95% interval."""

    value: float
    low: float
    high: float


class DifferenceEstimate(Estimate):
    """`low` to `high` is 95% if looked at once, `sure_…` however often one looks."""

    sure_low: float
    sure_high: float


class ArmFigures(Answer):
    """What became of the suggestions of one arm; forced ones are left out."""

    users: int
    suggestions: int
    coverage: Part | None = Field(description="share of the suggestions that had a label")
    answered: int
    accepted: int
    corrected: int
    rejected: int
    acceptance: Estimate | None = Field(description="accepted, of the labels that were answered")
    correction_rate: Part | None
    rejection_rate: Part | None
    gain: Estimate | None = Field(description="right less wrong, per suggestion")


class VerdictAnswer(Answer):
    arm: Arm
    against: Arm
    verdict: Literal["better", "worse", "mixed", "no difference seen", "not enough data"]
    why: str
    acceptance: DifferenceEstimate | None
    gain: DifferenceEstimate | None


class Canary(RolloutChange):
    """What holds, the evidence on it, and the newest changes."""

    trial_problem: str | None = Field(description="what keeps the version on trial from serving")
    evidence_since: dt.datetime
    arms: dict[Arm, ArmFigures]
    verdicts: list[VerdictAnswer]
    history: list[RolloutChange]


class Disagreement(Answer):
    rules_label: str
    model_label: str
    count: int
    answered: int
    rules_right: int
    model_right: int
    neither: int


class Disagreements(Answer):
    """The commonest pairs; `count` is of all pairs."""

    days: int
    count: int
    pairs: list[Disagreement]


def change(rollout: TrafficSplit) -> dict[str, Any]:
    """A change as JSON."""
    return {
        "change": rollout.change,
        "canary": rollout.canary,
        "challenger": rollout.challenger,
        "trial": rollout.trial,
        "action": rollout.action,
        "by": rollout.by,
        "why": rollout.why,
        "at": rollout.since.isoformat() if rollout.since else None,
    }


def figures(arm: ArmStatistics) -> dict[str, Any]:
    """The figures of an arm as JSON."""
    return {
        "users": arm.users,
        "suggestions": arm.suggestions,
        "coverage": _share(arm.shown, arm.suggestions),
        "answered": arm.answered,
        "accepted": arm.accepted,
        "corrected": arm.corrected,
        "rejected": arm.rejected,
        "acceptance": _estimate(arm.acceptance),
        "correction_rate": _share(arm.corrected, arm.answered),
        "rejection_rate": _share(arm.rejected, arm.answered),
        "gain": _estimate(arm.gain, scale=2, shift=-1),
    }


def verdict(found: Verdict) -> dict[str, Any]:
    """A verdict as JSON."""
    word: Outcome = found.outcome
    return {
        "arm": found.arm,
        "against": found.against,
        "verdict": word,
        "why": found.why,
        "acceptance": _difference_estimate(found.acceptance),
        "gain": _difference_estimate(found.gain, scale=2),
    }


def pair(found: Pair) -> dict[str, Any]:
    """A pair of labels as JSON."""
    return {
        "rules_label": found.rules_label,
        "model_label": found.model_label,
        "count": found.count,
        "answered": found.answered,
        "rules_right": found.rules_right,
        "model_right": found.model_right,
        "neither": found.answered - found.rules_right - found.model_right,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _estimate(rate: Rate, *, scale: float = 1, shift: float = 0) -> dict[str, float] | None:
    if rate.value is None:
        return None
    low, high = rate.interval()
    told = {"value": rate.value, "low": low, "high": high}
    return {name: _rounded(scale * value + shift) for name, value in told.items()}


def _difference_estimate(found: Difference | None, *, scale: float = 1) -> dict[str, float] | None:
    if found is None:
        return None
    told = {
        "value": found.value,
        "low": found.interval.low,
        "high": found.interval.high,
        "sure_low": found.anytime_interval.low,
        "sure_high": found.anytime_interval.high,
    }
    return {name: _rounded(scale * value) for name, value in told.items()}


def _rounded(value: float) -> float:
    return round(value, 6)
