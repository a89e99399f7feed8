"""What a person is shown for one transaction: the layers in their order, and when none of them is
sure enough to speak.

Pure: who gathers the evidence is `shared.suggestions.service`. The table in docs/suggestions.md
says the same in words, and tests/shared/suggestions/test_decision.py has a case for each of its
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple

from shared.model.classifier import LabelScore, Prediction
from shared.model.thresholds import Thresholds
from shared.rules.matcher import RuleMatch
from shared.suggestions.merchant_history import MerchantHistory

Source = Literal["rule", "memory", "model", "none"]
Layer = Literal["own rule", "own memory", "shared rule", "model", "other users", "starter", "none"]

ALTERNATIVES = 3
RULE_CONFIDENCE = 0.99  # a person wrote it down


class Prior(NamedTuple):
    """What most of the other users who labelled this merchant call it."""

    label: str
    users: int
    of_users: int

    @property
    def confidence(self) -> float:
        return self.users / (self.of_users + 1)


class ColdStart(NamedTuple):
    """What the text alone tells; see shared/suggestions/cold_start.py."""

    label: str
    confidence: float
    reason: str


class Evidence(NamedTuple):
    """All that is known of one transaction; a layer that has nothing to say is None."""

    own_rule: RuleMatch | None = None
    history: MerchantHistory | None = None
    shared_rule: RuleMatch | None = None
    prediction: Prediction | None = None  # None also where the user's arm has no model
    words: Callable[[], tuple[str, ...]] = lambda: ()  # of the text, that moved the prediction most
    prior: Prior | None = None
    cold_start: ColdStart | None = None
    rejected: frozenset[str] = frozenset()  # what the user will not have for this merchant


class Decision(NamedTuple):
    """What is shown. Without a label it asks, and the confidence is the first alternative's."""

    label: str | None
    confidence: float
    source: Source
    layer: Layer
    alternatives: tuple[LabelScore, ...]
    reasons: tuple[str, ...]


class LayerCandidate(NamedTuple):
    """What one layer says; it is shown if it is the first whose confidence reaches its bar."""

    layer: Layer
    source: Source
    label: str
    confidence: float
    threshold: float
    explain: Callable[[], str]  # takes longer than all else, and is shown of one voice

    @property
    def reason(self) -> str:
        """What a person is told."""
        return self.explain()


def decide(evidence: Evidence, bars: Thresholds) -> Decision:
    """The first layer that is sure enough; else to ask, with the best of what all of them say."""
    answers = [it for it in layer_candidates(evidence, bars) if it.label not in evidence.rejected]
    shown = next((it for it in answers if it.confidence >= it.threshold), None)
    if shown is None:
        others = _alternatives(answers)
        best = others[0] if others else None
        return Decision(
            label=None,
            confidence=best.confidence if best else 0.0,
            source="none",
            layer="none",
            alternatives=others,
            reasons=_reasons_to_ask(answers),
        )
    rest = [it for it in answers if it.label != shown.label]
    left = 1 - shown.confidence
    return Decision(
        label=shown.label,
        confidence=shown.confidence,
        source=shown.source,
        layer=shown.layer,
        alternatives=tuple(
            LabelScore(label, min(confidence, left)) for label, confidence in _alternatives(rest)
        ),
        reasons=(shown.reason,),
    )


def decided_label(evidence: Evidence, bars: Thresholds) -> str | None:
    """The label alone that `decide` would show; most times the first layer says it."""
    for it in layer_candidates(evidence, bars):
        if it.confidence >= it.threshold and it.label not in evidence.rejected:
            return it.label
    return None


def layer_candidates(evidence: Evidence, bars: Thresholds) -> Iterator[LayerCandidate]:
    """All that the layers say, in their order; of each, its best first."""
    if own := evidence.own_rule:
        yield LayerCandidate(
            "own rule", "rule", own.label, RULE_CONFIDENCE, 0.0, lambda: own.reason
        )
    if memory := evidence.history:
        for label in memory.labels:
            confidence = memory.confidence(label, bars.repeat_rates)
            # A correction is heard at once, however little else is known.
            bar = 0.0 if label == memory.corrected_to else bars.memory
            why = partial(memory.reason, label)
            yield LayerCandidate("own memory", "memory", label, confidence, bar, why)
    if rule := evidence.shared_rule:
        yield LayerCandidate(
            "shared rule", "rule", rule.label, RULE_CONFIDENCE, 0.0, lambda: rule.reason
        )
    if prediction := evidence.prediction:
        why = partial(_words, evidence)
        first = LabelScore(prediction.label, prediction.confidence)
        for label, confidence in (first, *prediction.alternatives):
            bar = bars.model.get(label, bars.model_default)
            yield LayerCandidate("model", "model", label, confidence, bar, why)
    if prior := evidence.prior:
        why = partial(_describe_prior, prior)
        yield LayerCandidate(
            "other users", "memory", prior.label, prior.confidence, bars.prior, why
        )
    if starter := evidence.cold_start:
        # A model that was heard has weighed the same text: where it is unsure, the text alone is
        # right less often than anywhere else.
        bar = bars.starter if evidence.prediction is None else 1.0
        yield LayerCandidate(
            "starter", "rule", starter.label, starter.confidence, bar, lambda: starter.reason
        )


def _words(evidence: Evidence) -> str:
    words = evidence.words()
    return f"words: {', '.join(words)}" if words else "amount and channel"


def _describe_prior(prior: Prior) -> str:
    return f"{prior.users} of {prior.of_users} users call this merchant {prior.label}"


def _alternatives(answers: list[LayerCandidate]) -> tuple[LabelScore, ...]:
    """The labels of all layers, each with the highest confidence that one of them has in it."""
    best: dict[str, float] = {}
    for answer in answers:
        best[answer.label] = max(answer.confidence, best.get(answer.label, 0.0))
    ranked = sorted(best.items(), key=lambda item: -item[1])[:ALTERNATIVES]
    return tuple(LabelScore(label, confidence) for label, confidence in ranked)


def _reasons_to_ask(answers: list[LayerCandidate]) -> tuple[str, ...]:
    if not answers:
        return ("nothing is known of this merchant",)
    best = max(answers, key=lambda answer: answer.confidence)
    return (
        f"not sure: {best.label} at {best.confidence:.2f}, {best.threshold:.2f} needed",
        best.reason,
    )
