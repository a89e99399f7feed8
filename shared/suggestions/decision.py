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

from shared.model.classifier import Prediction, Scored
from shared.model.thresholds import Bars
from shared.rules.matcher import RuleMatch
from shared.suggestions.merchant_history import Memory

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


class Starter(NamedTuple):
    """What the text alone tells; see shared/suggestions/cold_start.py."""

    label: str
    confidence: float
    reason: str


class Evidence(NamedTuple):
    """All that is known of one transaction; a layer that has nothing to say is None."""

    own_rule: RuleMatch | None = None
    memory: Memory | None = None
    shared_rule: RuleMatch | None = None
    prediction: Prediction | None = None  # None also where the user's arm has no model
    words: Callable[[], tuple[str, ...]] = lambda: ()  # of the text, that moved the prediction most
    prior: Prior | None = None
    starter: Starter | None = None
    rejected: frozenset[str] = frozenset()  # what the user will not have for this merchant


class Suggested(NamedTuple):
    """What is shown. Without a label it asks, and the confidence is the first alternative's."""

    label: str | None
    confidence: float
    source: Source
    layer: Layer
    alternatives: tuple[Scored, ...]
    reasons: tuple[str, ...]


class Voice(NamedTuple):
    """What one layer says; it is shown if it is the first whose confidence reaches its bar."""

    layer: Layer
    source: Source
    label: str
    confidence: float
    bar: float
    why: Callable[[], str]  # takes longer than all else, and is shown of one voice

    @property
    def reason(self) -> str:
        """What a person is told."""
        return self.why()


def decide(evidence: Evidence, bars: Bars) -> Suggested:
    """The first layer that is sure enough; else to ask, with the best of what all of them say."""
    answers = [it for it in voices(evidence, bars) if it.label not in evidence.rejected]
    shown = next((it for it in answers if it.confidence >= it.bar), None)
    if shown is None:
        others = _options(answers)
        best = others[0] if others else None
        return Suggested(
            label=None,
            confidence=best.confidence if best else 0.0,
            source="none",
            layer="none",
            alternatives=others,
            reasons=_unsure(answers),
        )
    rest = [it for it in answers if it.label != shown.label]
    left = 1 - shown.confidence
    return Suggested(
        label=shown.label,
        confidence=shown.confidence,
        source=shown.source,
        layer=shown.layer,
        alternatives=tuple(
            Scored(label, min(confidence, left)) for label, confidence in _options(rest)
        ),
        reasons=(shown.reason,),
    )


def label_of(evidence: Evidence, bars: Bars) -> str | None:
    """The label alone that `decide` would show; most times the first layer says it."""
    for it in voices(evidence, bars):
        if it.confidence >= it.bar and it.label not in evidence.rejected:
            return it.label
    return None


def voices(evidence: Evidence, bars: Bars) -> Iterator[Voice]:
    """All that the layers say, in their order; of each, its best first."""
    if own := evidence.own_rule:
        yield Voice("own rule", "rule", own.label, RULE_CONFIDENCE, 0.0, lambda: own.reason)
    if memory := evidence.memory:
        for label in memory.labels:
            confidence = memory.confidence(label, bars.trust)
            # A correction is heard at once, however little else is known.
            bar = 0.0 if label == memory.corrected_to else bars.memory
            why = partial(memory.reason, label)
            yield Voice("own memory", "memory", label, confidence, bar, why)
    if rule := evidence.shared_rule:
        yield Voice("shared rule", "rule", rule.label, RULE_CONFIDENCE, 0.0, lambda: rule.reason)
    if prediction := evidence.prediction:
        why = partial(_words, evidence)
        first = Scored(prediction.label, prediction.confidence)
        for label, confidence in (first, *prediction.alternatives):
            bar = bars.model.get(label, bars.model_default)
            yield Voice("model", "model", label, confidence, bar, why)
    if prior := evidence.prior:
        why = partial(_others, prior)
        yield Voice("other users", "memory", prior.label, prior.confidence, bars.prior, why)
    if starter := evidence.starter:
        # A model that was heard has weighed the same text: where it is unsure, the text alone is
        # right less often than anywhere else.
        bar = bars.starter if evidence.prediction is None else 1.0
        yield Voice(
            "starter", "rule", starter.label, starter.confidence, bar, lambda: starter.reason
        )


def _words(evidence: Evidence) -> str:
    words = evidence.words()
    return f"words: {', '.join(words)}" if words else "amount and channel"


def _others(prior: Prior) -> str:
    return f"{prior.users} of {prior.of_users} users call this merchant {prior.label}"


def _options(answers: list[Voice]) -> tuple[Scored, ...]:
    """The labels of all layers, each with the highest confidence that one of them has in it."""
    best: dict[str, float] = {}
    for answer in answers:
        best[answer.label] = max(answer.confidence, best.get(answer.label, 0.0))
    ranked = sorted(best.items(), key=lambda item: -item[1])[:ALTERNATIVES]
    return tuple(Scored(label, confidence) for label, confidence in ranked)


def _unsure(answers: list[Voice]) -> tuple[str, ...]:
    if not answers:
        return ("nothing is known of this merchant",)
    best = max(answers, key=lambda answer: answer.confidence)
    return (f"not sure: {best.label} at {best.confidence:.2f}, {best.bar:.2f} needed", best.reason)
