"""Requests and answers about canary, trial and disagreements."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Self

from pydantic import AliasChoices, Field, StringConstraints

from shared.db.tables import Arm
from shared.experiments.arm_statistics import ArmStatistics, Pair
from shared.experiments.ratio_intervals import Difference, Rate
from shared.experiments.verdicts import Outcome, Verdict
from shared.settings import SHARE
from web.http.schemas import Answer, Body, Identity, Query, Reason, Timestamp, Whole

Share = (
    Annotated[float, Field(ge=0, le=1)] | Annotated[str, StringConstraints(pattern=f"^{SHARE}$")]
)
Part = Annotated[float, Field(ge=0, le=1)]


class CanaryRequest(Body):
    """`share` is 0, 1, "N%" or from 0 to 1; `expected_change` guards against lost updates."""

    share: Share
    why: Reason = ""
    expected_change: Annotated[int, Field(ge=0, lt=2**63), Whole] | None = None


class TrialRequest(Body):
    """Which version to try, and on which share of all users."""

    run_id: Identity
    share: Share
    why: Reason = ""


class DisagreementsQuery(Query):
    """How far to look back."""

    days: Annotated[int, Field(ge=1, le=365)] = 7


class RolloutChange(Answer):
    """The traffic split since `at`; `change` is 0 and `at` null while the environment sets it."""

    change: int
    canary: Part
    challenger: str | None
    trial: Part
    action: str
    by: str
    why: str
    at: Timestamp | None = Field(validation_alias=AliasChoices("at", "since"))


class Estimate(Answer):
    """A share with its 95% interval."""

    value: float
    low: float
    high: float


class DifferenceEstimate(Estimate):
    """`low` to `high` is the 95% interval for one look, `sure_…` that for any number of looks."""

    sure_low: float
    sure_high: float


class ArmFigures(Answer):
    """Answers to the suggestions of one arm; forced ones are left out."""

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

    @classmethod
    def of(cls, arm: ArmStatistics) -> Self:
        """The statistics of an arm as an answer."""
        return cls(
            users=arm.users,
            suggestions=arm.suggestions,
            coverage=_share(arm.shown, arm.suggestions),
            answered=arm.answered,
            accepted=arm.accepted,
            corrected=arm.corrected,
            rejected=arm.rejected,
            acceptance=_estimate(arm.acceptance),
            correction_rate=_share(arm.corrected, arm.answered),
            rejection_rate=_share(arm.rejected, arm.answered),
            gain=_estimate(arm.gain, scale=2, shift=-1),
        )


class VerdictAnswer(Answer):
    arm: Arm
    against: Arm
    verdict: Outcome
    why: str
    acceptance: DifferenceEstimate | None
    gain: DifferenceEstimate | None

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """A verdict as an answer; the gain of the domain is in halves."""
        return cls(
            arm=verdict.arm,
            against=verdict.against,
            verdict=verdict.outcome,
            why=verdict.why,
            acceptance=_difference_estimate(verdict.acceptance),
            gain=_difference_estimate(verdict.gain, scale=2),
        )


class Canary(RolloutChange):
    """The traffic split, its evidence, and the newest changes."""

    trial_problem: str | None = Field(description="what keeps the version on trial from serving")
    evidence_since: Timestamp
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

    @classmethod
    def of(cls, pair: Pair) -> Self:
        """A pair of labels as an answer."""
        neither = pair.answered - pair.rules_right - pair.model_right
        return cls(**asdict(pair), neither=neither)


class Disagreements(Answer):
    """The commonest pairs; `count` is of all pairs."""

    days: int
    count: int
    pairs: list[Disagreement]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _estimate(rate: Rate, *, scale: float = 1, shift: float = 0) -> Estimate | None:
    if rate.value is None:
        return None
    low, high = rate.interval()
    value, low, high = (round(scale * x + shift, 6) for x in (rate.value, low, high))
    return Estimate(value=value, low=low, high=high)


def _difference_estimate(
    difference: Difference | None, *, scale: float = 1
) -> DifferenceEstimate | None:
    if difference is None:
        return None
    figures = (difference.value, *difference.interval, *difference.anytime_interval)
    value, low, high, sure_low, sure_high = (round(scale * x, 6) for x in figures)
    return DifferenceEstimate(
        value=value, low=low, high=high, sure_low=sure_low, sure_high=sure_high
    )
