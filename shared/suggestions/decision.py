"""The decision policy: which layer answers for a transaction, or that the user is asked.

Pure; `shared.suggestions.service` gathers the evidence. docs/suggestions.md has the policy as a
table, and tests/shared/suggestions/test_decision.py a case for each of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Literal, NamedTuple

from shared.model.classifier import LabelScore, Prediction
from shared.model.spellings import fold_label
from shared.model.thresholds import Thresholds
from shared.rules.matcher import RuleMatch
from shared.suggestions.merchant_history import MerchantHistory

Source = Literal["rule", "memory", "model", "none"]
Layer = Literal["own rule", "own memory", "shared rule", "model", "other users", "starter", "none"]

ALTERNATIVES = 3
RULE_CONFIDENCE = 0.99
CORRECTION = 0.55  # threshold of a label that corrected a suggestion: clearly likelier right
NEVER = 1.0  # threshold above every confidence: only an alternative


class Prior(NamedTuple):
    """The most frequent label of a merchant, by users who labelled it."""

    label: str
    users: int
    of_users: int

    @property
    def confidence(self) -> float:
        return self.users / (self.of_users + 1)

    @property
    def reason(self) -> str:
        return f"{self.users} of {self.of_users} users call this merchant {self.label}"


class ColdStart(NamedTuple):
    """The suggestion from the text alone; see shared/suggestions/cold_start.py."""

    label: str
    confidence: float
    reason: str


class Evidence(NamedTuple):
    """The input of every layer for one transaction; None where a layer has none."""

    own_rule: RuleMatch | None = None
    history: MerchantHistory | None = None
    shared_rule: RuleMatch | None = None
    prediction: Prediction | None = None  # None also where the user's arm has no model
    own_name: Callable[[], str] = lambda: ""  # what the user called such transactions, in words
    words: Callable[[], tuple[str, ...]] = lambda: ()  # of the text, that moved the prediction most
    prior: Prior | None = None
    cold_start: ColdStart | None = None
    rejected: frozenset[str] = frozenset()  # labels that the user rejected for this merchant


class Decision(NamedTuple):
    """The answer for one transaction. Without a label it asks, and the confidence is that of the
    first alternative."""

    label: str | None
    confidence: float
    source: Source
    layer: Layer
    alternatives: tuple[LabelScore, ...]
    reasons: tuple[str, ...]


class LayerCandidate(NamedTuple):
    """One label from one layer."""

    layer: Layer
    source: Source
    label: str
    confidence: float
    threshold: float
    reason: Callable[[], str]  # called for one candidate only: it costs more than all the rest


def decide(evidence: Evidence, thresholds: Thresholds) -> Decision:
    """The first candidate that reaches its threshold; else to ask, with the best of all layers."""
    candidates = [
        item
        for item in layer_candidates(evidence, thresholds)
        if item.label not in evidence.rejected
    ]
    first = next((item for item in candidates if item.confidence >= item.threshold), None)
    if first is None:
        best = _best_labels(candidates)
        confidence = best[0].confidence if best else 0.0
        return Decision(None, confidence, "none", "none", best, _reasons_to_ask(candidates))
    left = 1 - first.confidence
    others = tuple(
        LabelScore(label, min(confidence, left))
        for label, confidence in _best_labels([it for it in candidates if it.label != first.label])
    )
    return Decision(
        first.label, first.confidence, first.source, first.layer, others, (first.reason(),)
    )


def decided_label(evidence: Evidence, thresholds: Thresholds) -> str | None:
    """The label of `decide` without the rest, in less time: it stops at the first layer."""
    for item in layer_candidates(evidence, thresholds):
        if item.confidence >= item.threshold and item.label not in evidence.rejected:
            return item.label
    return None


def layer_candidates(evidence: Evidence, thresholds: Thresholds) -> Iterator[LayerCandidate]:
    """All candidates in the order of the layers; within a layer, the best first."""
    if rule := evidence.own_rule:
        yield LayerCandidate(
            "own rule", "rule", rule.label, RULE_CONFIDENCE, 0.0, lambda: rule.reason
        )
    own_names = set()
    if history := evidence.history:
        for label, confidence in history.candidates(thresholds.repeat_rates):
            needed = thresholds.memory
            if history.is_correction and label == history.newest:
                needed = min(needed, CORRECTION)  # it counts at once, unless likelier wrong
            reason = partial(history.reason, label)
            yield LayerCandidate("own memory", "memory", label, confidence, needed, reason)
            if label not in evidence.rejected:
                own_names.add(fold_label(label))
    if shared := evidence.shared_rule:
        yield LayerCandidate(
            "shared rule", "rule", shared.label, RULE_CONFIDENCE, 0.0, lambda: shared.reason
        )
    if (prediction := evidence.prediction) and prediction.label:
        reason = partial(_model_reason, evidence)
        first = LabelScore(prediction.label, prediction.confidence)
        for label, confidence in (first, *prediction.alternatives):
            needed = thresholds.model.get(label, thresholds.model_default)
            yield LayerCandidate(
                "model",
                "model",
                label,
                confidence,
                _unless_contradicted(label, needed, own_names),
                reason,
            )
    if prior := evidence.prior:
        yield LayerCandidate(
            "other users", "memory", prior.label, prior.confidence,
            _unless_contradicted(prior.label, thresholds.prior, own_names), lambda: prior.reason,
        )  # fmt: skip
    if start := evidence.cold_start:
        # The model has read the same text. Where it is unsure, the cold start is seldom right, so
        # it is only an alternative then.
        needed = thresholds.starter if evidence.prediction is None else NEVER
        yield LayerCandidate(
            "starter", "rule", start.label, start.confidence,
            _unless_contradicted(start.label, needed, own_names), lambda: start.reason,
        )  # fmt: skip


def _unless_contradicted(label: str, threshold: float, own: Collection[str]) -> float:
    """The confidence that a layer needs which knows less of the user than their *own* labels.

    Where those differ, nothing else is right often enough, however sure it is: measured, see
    docs/suggestions.md.
    """
    return threshold if not own or own == {fold_label(label)} else NEVER


def _model_reason(evidence: Evidence) -> str:
    if own := evidence.own_name():
        return own
    words = evidence.words()
    return f"words: {', '.join(words)}" if words else "amount and channel"


def _best_labels(candidates: list[LayerCandidate]) -> tuple[LabelScore, ...]:
    """The labels with the highest confidence, each with that of its surest layer."""
    best: dict[str, float] = {}
    for item in candidates:
        best[item.label] = max(item.confidence, best.get(item.label, 0.0))
    ranked = sorted(best.items(), key=lambda item: -item[1])[:ALTERNATIVES]
    return tuple(LabelScore(label, confidence) for label, confidence in ranked)


def _reasons_to_ask(candidates: list[LayerCandidate]) -> tuple[str, ...]:
    if not candidates:
        return ("nothing is known of this merchant",)
    best = max(candidates, key=lambda item: item.confidence)
    return (
        f"not sure: {best.label} at {best.confidence:.2f}, {best.threshold:.2f} needed",
        best.reason(),
    )
