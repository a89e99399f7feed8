"""Suggests a category for each transaction, according to its user's experiment arm.

`look_up` gathers the evidence from the database, `suggest` adds model and text and decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from shared.db.tables import Arm
from shared.experiments.traffic_split import TrafficSplit, assign_arm
from shared.features.encoder import word_columns
from shared.features.extract import FeatureRow
from shared.log import get_logger
from shared.model.classifier import Model, Prediction
from shared.model.explain import own_name
from shared.model.thresholds import Thresholds
from shared.monitoring import metrics
from shared.registry.challenger import ChallengerModel
from shared.registry.live_model import LiveModel, LoadedModel
from shared.rules import store as rule_store
from shared.rules.matcher import RuleMatcher
from shared.settings import Settings
from shared.suggestions.cold_start import LabelProfile
from shared.suggestions.context import SuggestionContext, add_label_profiles, load_context
from shared.suggestions.decision import (
    Decision,
    Evidence,
    LayerCandidate,
    decide,
    decided_label,
    layer_candidates,
)
from shared.suggestions.merchant_history import merchant_history, rejected_labels
from shared.text.collectors import is_collector

log = get_logger()
WORDS = 4  # in the reason of the model
NO_RULES = RuleMatcher(())
EMPTY_PROFILE = LabelProfile()


class SuggestionRequest(NamedTuple):
    """One transaction; `txn_id` is None where it is not stored."""

    row: FeatureRow
    txn_id: int | None = None


class SuggestionResult(NamedTuple):
    """The decision for one transaction, and the labels of the rules and of the model alone."""

    request: SuggestionRequest
    decision: Decision
    arm: Arm
    model_version: str | None  # of the model that predicted, shown or not
    rules_label: str | None
    model_label: str | None


class ServingContext(NamedTuple):
    """The models and the traffic split that one request uses; by default, rules for all users."""

    live: LoadedModel | None = None
    challenger: LoadedModel | None = None
    split: TrafficSplit = TrafficSplit(canary=0.0)
    shadow: bool = False  # whether the live model predicts in the arm RULES, too
    salt: str = ""
    thresholds: Mapping[str, float] = {}  # override those of the model

    def model_of(self, arm: Arm) -> LoadedModel | None:
        """The model whose thresholds an arm uses, whether or not that model predicts in it."""
        return self.challenger if arm is Arm.CHALLENGER else self.live

    def thresholds_for(self, arm: Arm) -> Thresholds:
        """The thresholds of an arm. They do not depend on `shadow`, which changes no answer."""
        loaded = self.model_of(arm)
        return (loaded.model.thresholds if loaded else Thresholds()).with_overrides(self.thresholds)

    def with_live_model_for_all(self) -> ServingContext:
        """The same with all users in the arm MODEL, or RULES while no model is live."""
        return self._replace(split=TrafficSplit(canary=float(self.live is not None)))


def serving_context(
    live: LiveModel, challengers: ChallengerModel, settings: Settings, newest: TrafficSplit | None
) -> ServingContext:
    """The models of this process, with the *newest* change of the split or that of the settings.

    Without a loaded challenger, no user is in its arm.
    """
    split = newest or TrafficSplit(canary=settings.suggest_canary)
    challenger = challengers.model(split.challenger)
    return ServingContext(
        live.current(),
        challenger,
        split if challenger else split.without_trial(),
        settings.suggest_shadow,
        settings.suggest_salt,
        settings.suggest_thresholds,
    )


class GatheredEvidence(NamedTuple):
    """The evidence of rules, merchant history and other users for one transaction."""

    request: SuggestionRequest
    arm: Arm
    evidence: Evidence
    rules_label: str | None  # the label it decides; None: the user's label profile is needed


class Lookup(NamedTuple):
    """What the database gives for some transactions: the arguments of `suggest`."""

    gathered: list[GatheredEvidence]
    context: SuggestionContext
    serving: ServingContext


def look_up(
    session: Session,
    requests: Sequence[SuggestionRequest],
    serving_for: Callable[[TrafficSplit | None], ServingContext],
    forced: Arm | None = None,
    *,
    all_profiles: bool = False,
) -> Lookup:
    """Load the context, gather the evidence, and add the label profiles that are needed.

    Args:
        serving_for: gives the models for the newest change of the traffic split.
        forced: the arm of all transactions, in place of their users' arms.
        all_profiles: load the profile of every user, for `explain`.
    """
    context = load_context(session, [it.row for it in requests])
    serving = serving_for(context.rollout)
    gathered = gather_evidence(requests, context, serving, forced)
    users = {it.row.user_id for it in requests} if all_profiles else users_needing_profile(gathered)
    return Lookup(gathered, add_label_profiles(session, context, users), serving)


def gather_evidence(
    requests: Sequence[SuggestionRequest],
    context: SuggestionContext,
    serving: ServingContext,
    forced: Arm | None = None,
) -> list[GatheredEvidence]:
    """The evidence for each transaction, in order, without model and text."""
    thresholds = {arm: serving.thresholds_for(arm) for arm in Arm}
    gathered = []
    for request in requests:
        row = request.row
        arm = forced or assign_arm(row.user_id, serving.split, serving.salt)
        key = row.user_id, row.merchant
        own = context.matchers.get(row.user_id, NO_RULES) if row.user_id else NO_RULES
        evidence = Evidence(
            own_rule=own.match(row),
            shared_rule=context.matchers.get(rule_store.SHARED, NO_RULES).match(row),
            history=merchant_history(row, context.past_labels.get(key, ())),
            prior=None if is_collector(row.merchant) else context.priors.get(row.merchant),
            rejected=rejected_labels(row, context.rejections.get(key, ())),
        )
        label = decided_label(evidence, thresholds[arm])
        gathered.append(GatheredEvidence(request, arm, evidence, label))
    return gathered


def users_needing_profile(gathered: Iterable[GatheredEvidence]) -> set[str]:
    """The users for whom rules and merchant history leave some transaction undecided."""
    return {it.request.row.user_id for it in gathered if it.rules_label is None}


def suggest(
    gathered: Sequence[GatheredEvidence], context: SuggestionContext, serving: ServingContext
) -> list[SuggestionResult]:
    """Suggest for each transaction, in order. In an arm whose model fails, the rules answer."""
    by_arm: defaultdict[Arm, list[int]] = defaultdict(list)
    for index, item in enumerate(gathered):
        by_arm[item.arm].append(index)
    results: dict[int, SuggestionResult] = {}
    for arm, indices in by_arm.items():
        items = [gathered[index] for index in indices]
        thresholds = serving.thresholds_for(arm)
        loaded = serving.model_of(arm) if arm is not Arm.RULES or serving.shadow else None
        try:
            answers = _suggest_in_arm(items, context, loaded, thresholds)
        except Exception:
            if loaded is None:
                raise
            metrics.count_model_failure(arm)
            log.exception("suggest.model_failed", arm=arm.value)
            answers = _suggest_in_arm(items, context, None, thresholds)
        results.update(zip(indices, answers, strict=True))
    return [results[index] for index in range(len(gathered))]


def _suggest_in_arm(
    gathered: Sequence[GatheredEvidence],
    context: SuggestionContext,
    loaded: LoadedModel | None,
    thresholds: Thresholds,
) -> list[SuggestionResult]:
    predictions: Sequence[Prediction | None] = [None] * len(gathered)
    if loaded is not None:
        predictions = loaded.model.predict_many([it.request.row for it in gathered])
    version = loaded.deployment.run_id if loaded else None
    results = []
    for (request, arm, evidence, rules_label), prediction in zip(
        gathered, predictions, strict=True
    ):
        rejected, model_label = evidence.rejected, None
        if rules_label is None:
            evidence = _with_cold_start(evidence, request.row, context)
            # No earlier layer reached its threshold, so it is up to the cold start.
            text = Evidence(
                history=evidence.history, cold_start=evidence.cold_start, rejected=rejected
            )
            rules_label = decided_label(text, thresholds)
        if loaded is not None and prediction is not None:
            model_label = decided_label(
                Evidence(prediction=prediction, rejected=rejected), thresholds
            )
            if arm is not Arm.RULES:
                evidence = _with_prediction(evidence, loaded.model, request.row, prediction)
        decision = decide(evidence, thresholds)
        results.append(SuggestionResult(request, decision, arm, version, rules_label, model_label))
    return results


def _with_cold_start(evidence: Evidence, row: FeatureRow, context: SuggestionContext) -> Evidence:
    profile = context.profiles.get(row.user_id, EMPTY_PROFILE)
    return evidence._replace(cold_start=profile.cold_start(row))


def _with_prediction(
    evidence: Evidence, model: Model, row: FeatureRow, prediction: Prediction
) -> Evidence:
    return evidence._replace(
        prediction=prediction,
        own_name=partial(own_name, model, row, prediction.label),
        words=partial(words_of, model, row, prediction.label),
    )


class ExplainedDecision(NamedTuple):
    """The decision for one transaction, and the candidates of every layer."""

    decision: Decision
    arm: Arm
    candidates: list[LayerCandidate]  # of the layers that count in the arm, in their order
    shadow: list[LayerCandidate]  # of the live model where the arm is RULES
    rejected: frozenset[str]


def explain(
    gathered: GatheredEvidence, context: SuggestionContext, serving: ServingContext
) -> ExplainedDecision:
    """The decision for one transaction with all layers, those that it did not need, too."""
    row, arm = gathered.request.row, gathered.arm
    thresholds, loaded = serving.thresholds_for(arm), serving.model_of(arm)
    evidence = _with_cold_start(gathered.evidence, row, context)
    shadow: list[LayerCandidate] = []
    if loaded:
        (prediction,) = loaded.model.predict_many([row])
        if arm is Arm.RULES:
            model_alone = _with_prediction(Evidence(), loaded.model, row, prediction)
            shadow = [*layer_candidates(model_alone, thresholds)]
        else:
            evidence = _with_prediction(evidence, loaded.model, row, prediction)
    candidates = [*layer_candidates(evidence, thresholds)]
    decision = decide(evidence, thresholds)
    return ExplainedDecision(decision, arm, candidates, shadow, evidence.rejected)


def words_of(model: Model, row: FeatureRow, label: str) -> tuple[str, ...]:
    """The words of *row* with the largest contributions to *label* in the linear score."""
    columns = word_columns(row)
    if not columns:
        return ()
    indices = np.array([column for _, column in columns])
    idf = model.generator.encoder.idf[indices]  # not scaled to length one: the order stays
    scores = model.linear_contributions(indices, idf, [model.index_of(label)])[:, 0]
    words: list[str] = []
    for score, (word, _) in sorted(zip(scores.tolist(), columns, strict=True), reverse=True):
        # "hortons" adds nothing beside "tim hortons".
        if score > 0 and not any(f" {word} " in f" {other} " for other in words):
            words.append(word)
    return tuple(words[:WORDS])
