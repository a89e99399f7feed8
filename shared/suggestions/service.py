"""Suggests a category for each transaction, according to its user's experiment arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from shared.db.tables import Arm
from shared.experiments.traffic_split import TrafficSplit, assign_arm
from shared.features.encoder import word_columns
from shared.features.extract import FeatureRow
from shared.log import get_logger
from shared.model.classifier import Model, Prediction
from shared.model.thresholds import Thresholds
from shared.monitoring import metrics
from shared.registry.challenger import ChallengerModel
from shared.registry.live_model import LiveModel, LoadedModel
from shared.rules import store as rule_store
from shared.rules.matcher import RuleMatcher
from shared.settings import Settings
from shared.suggestions.cold_start import LabelProfile
from shared.suggestions.context import SuggestionContext
from shared.suggestions.decision import (
    Decision,
    Evidence,
    LayerCandidate,
    decide,
    decided_label,
    layer_candidates,
)

log = get_logger()
WORDS = 4  # of a transaction are named as the model's reason


class SuggestionRequest(NamedTuple):
    """A transaction to be suggested for; `txn_id` is None where it is not a stored one."""

    row: FeatureRow
    txn_id: int | None = None


NO_RULES = RuleMatcher(())
EMPTY_PROFILE = LabelProfile()


class SuggestionResult(NamedTuple):
    """What is shown for one transaction, and what rules and model would each say alone."""

    request: SuggestionRequest
    decision: Decision
    arm: Arm
    model_version: str | None  # of the model that was heard
    rules_label: str | None
    model_label: str | None


class RuleEvidence(NamedTuple):
    """What rules, merchant history and other users say of one transaction.

    Attributes:
        rules_label: what is decided by that alone; None: the user's label profile is needed.
    """

    asked: SuggestionRequest
    arm: Arm
    evidence: Evidence
    rules_label: str | None


def gather_evidence(
    asked: Sequence[SuggestionRequest],
    said: SuggestionContext,
    heard: ServingContext,
    forced: Arm | None = None,
) -> list[RuleEvidence]:
    """Find the evidence for each transaction, but for text and model, in order."""
    arms = [forced or heard.arm_of(item.row.user_id) for item in asked]
    bars = {arm: heard.thresholds_for(arm) for arm in set(arms)}
    return [_gather(item, said, arm, bars[arm]) for item, arm in zip(asked, arms, strict=True)]


def _gather(
    item: SuggestionRequest, said: SuggestionContext, arm: Arm, bars: Thresholds
) -> RuleEvidence:
    evidence = _rule_and_history_evidence(item.row, said)
    return RuleEvidence(item, arm, evidence, decided_label(evidence, bars))


def users_needing_profile(gathered: Iterable[RuleEvidence]) -> set[str]:
    """Users for some of whose transactions rules and merchant history decide nothing."""
    return {it.asked.row.user_id for it in gathered if it.rules_label is None}


def suggest(
    asked: Sequence[SuggestionRequest],
    said: SuggestionContext,
    arm: Arm,
    served: LoadedModel | None,
    bars: Thresholds,
) -> list[SuggestionResult]:
    """Suggest for each transaction, in order. In the arm RULES the model is heard, not shown."""
    return _answer([_gather(item, said, arm, bars) for item in asked], said, arm, served, bars)


def _answer(
    gathered: Sequence[RuleEvidence],
    said: SuggestionContext,
    arm: Arm,
    served: LoadedModel | None,
    bars: Thresholds,
) -> list[SuggestionResult]:
    predictions: Sequence[Prediction | None] = [None] * len(gathered)
    if served is not None:
        predictions = served.model.predict_many([it.asked.row for it in gathered])
    version = served.deployment.run_id if served else None
    answers = []
    for (item, _, rules, rules_label), prediction in zip(gathered, predictions, strict=True):
        if rules_label is None:
            rules = _with_cold_start(rules, item.row, said)
            # The layers before the text have decided nothing.
            text = Evidence(cold_start=rules.cold_start, rejected=rules.rejected)
            rules_label = decided_label(text, bars)
        if arm is Arm.RULES or prediction is None or served is None:
            shown = decide(rules, bars)
        else:
            words = partial(words_of, served.model, item.row, prediction.label)
            shown = decide(rules._replace(prediction=prediction, words=words), bars)
        alone = Evidence(prediction=prediction, rejected=rules.rejected)
        model_label = decided_label(alone, bars) if prediction else None
        answers.append(SuggestionResult(item, shown, arm, version, rules_label, model_label))
    return answers


def _rule_and_history_evidence(row: FeatureRow, said: SuggestionContext) -> Evidence:
    key = row.user_id, row.merchant
    own = said.matchers.get(row.user_id, NO_RULES) if row.user_id else NO_RULES
    return Evidence(
        own_rule=own.match(row),
        shared_rule=said.matchers.get(rule_store.SHARED, NO_RULES).match(row),
        history=said.histories.get(key),
        prior=said.priors.get(row.merchant),
        rejected=said.rejected.get(key, frozenset()),
    )


def _with_cold_start(evidence: Evidence, row: FeatureRow, said: SuggestionContext) -> Evidence:
    """The text takes the longest to read, and is seldom needed."""
    return evidence._replace(
        cold_start=said.profiles.get(row.user_id, EMPTY_PROFILE).cold_start(row)
    )


class ServingContext(NamedTuple):
    """Who may be heard, and by whom; see shared/experiments/traffic_split.py."""

    live: LoadedModel | None
    challenger: LoadedModel | None
    split: TrafficSplit
    shadow: bool
    salt: str
    thresholds: Mapping[str, float]

    def arm_of(self, user_id: str) -> Arm:
        """The arm that a user is in."""
        return assign_arm(user_id, self.split, self.salt)

    def thresholds_for(self, arm: Arm) -> Thresholds:
        """What must be reached in an arm. The same whether the model is listened to or not:
        shadow changes no answer."""
        judge = self.challenger if arm is Arm.CHALLENGER else self.live
        return (judge.model.thresholds if judge else Thresholds()).with_overrides(self.thresholds)


def serving_context(
    live: LiveModel, challengers: ChallengerModel, settings: Settings, newest: TrafficSplit | None
) -> ServingContext:
    """The models of this process. Without a loaded challenger, no user is in its arm.

    Args:
        newest: change of the shares; None: the settings hold them.
    """
    holds = newest or TrafficSplit(canary=settings.suggest_canary)
    challenger = challengers.model(holds.challenger)
    return ServingContext(
        live.current(),
        challenger,
        holds if challenger else holds.without_trial(),
        settings.suggest_shadow,
        settings.suggest_salt,
        settings.suggest_thresholds,
    )


def suggest_all(
    asked: Sequence[SuggestionRequest],
    said: SuggestionContext,
    heard: ServingContext,
    forced: Arm | None = None,
) -> list[SuggestionResult]:
    """Suggest for each transaction by the arm of its user, in order."""
    return suggest_from_evidence(gather_evidence(asked, said, heard, forced), said, heard)


def suggest_from_evidence(
    gathered: Sequence[RuleEvidence], said: SuggestionContext, heard: ServingContext
) -> list[SuggestionResult]:
    """The same from evidence that was found before the label profiles were read."""
    by_arm: defaultdict[Arm, list[int]] = defaultdict(list)
    for place, it in enumerate(gathered):
        by_arm[it.arm].append(place)
    models = {
        Arm.RULES: heard.live if heard.shadow else None,
        Arm.MODEL: heard.live,
        Arm.CHALLENGER: heard.challenger,
    }
    found: dict[int, SuggestionResult] = {}
    for arm, places in by_arm.items():
        items, served = [gathered[place] for place in places], models[arm]
        bars = heard.thresholds_for(arm)
        try:
            answers = _answer(items, said, arm, served, bars)
        except Exception:
            if served is None:
                raise
            # Without the model that failed, rules and merchant history answer.
            metrics.count_model_failure(arm)
            log.exception("suggest.model_failed", arm=arm.value)
            by_rules = _answer(items, said, Arm.RULES, None, bars)
            answers = [it._replace(arm=arm) for it in by_rules]
        found.update(zip(places, answers, strict=True))
    return [found[place] for place in range(len(gathered))]


class ExplainedDecision(NamedTuple):
    """What is shown for one transaction, and what each layer says of it.

    Attributes:
        voices: of the layers that are heard in the arm, in their order.
        unheard: what the live model says where the arm is RULES.
    """

    decision: Decision
    arm: Arm
    candidates: list[LayerCandidate]
    shadow: list[LayerCandidate]
    rejected: frozenset[str]


def explain(
    item: SuggestionRequest, said: SuggestionContext, heard: ServingContext
) -> ExplainedDecision:
    """Take the answer for one transaction apart; the layers that it did not need are asked, too."""
    arm = heard.arm_of(item.row.user_id)
    judge = heard.challenger if arm is Arm.CHALLENGER else heard.live
    bars = heard.thresholds_for(arm)
    evidence = _with_cold_start(_rule_and_history_evidence(item.row, said), item.row, said)
    unheard: list[LayerCandidate] = []
    if judge:
        (prediction,) = judge.model.predict_many([item.row])
        told_by = words_of(judge.model, item.row, prediction.label)  # all reasons are shown
        if arm is Arm.RULES:
            unheard = [
                *layer_candidates(Evidence(prediction=prediction, words=lambda: told_by), bars)
            ]
        else:
            evidence = evidence._replace(prediction=prediction, words=lambda: told_by)
    told = [*layer_candidates(evidence, bars)]
    return ExplainedDecision(decide(evidence, bars), arm, told, unheard, evidence.rejected)


def words_of(model: Model, row: FeatureRow, label: str) -> tuple[str, ...]:
    """The words of *row* that speak most for *label* in the linear score, at most WORDS."""
    columns = word_columns(row)
    if not columns:
        return ()
    at = np.array([column for _, column in columns])
    idf = model.generator.encoder.idf[at]  # not scaled to length one: the order stays
    added = model.linear_contributions(at, idf, [model.labels.index(label)])[:, 0]
    told: list[str] = []
    for weight, (word, _) in sorted(zip(added.tolist(), columns, strict=True), reverse=True):
        # "hortons" says nothing beside "tim hortons".
        if weight > 0 and not any(f" {word} " in f" {other} " for other in told):
            told.append(word)
    return tuple(told[:WORDS])
