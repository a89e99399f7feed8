"""A user in a replay: what they said so far, as the service would know it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.features.extract import FeatureRow
from shared.model.thresholds import RECENT
from shared.suggestions.cold_start import LabelProfile
from shared.suggestions.decision import Decision
from shared.suggestions.merchant_history import MerchantHistory, PastLabel, merchant_history

# Of 100 rows: wrong ones, and those where it asks, with the right label as its first alternative or
# without. `to correct` are the wrong ones and the last.
HEADINGS = ("shown", "right", "wrong", "to confirm", "to choose", "to correct", "by layer")


class Said(NamedTuple):
    """A label that the user gave a row."""

    row: FeatureRow
    label: str
    is_correction: bool


class Shown(NamedTuple):
    """What was suggested, and whether it was right."""

    decision: Decision
    right: bool
    offered: bool  # whether the right label was the first alternative


def judge(decision: Decision, truth: str) -> Shown:
    """Compare a decision with the label that the user then gave."""
    first = decision.alternatives[0].label if decision.alternatives else None
    is_offered = decision.label is None and first == truth
    return Shown(decision, decision.label == truth, is_offered)


@dataclass(slots=True)
class ReplayedUser:
    """What one user has said so far."""

    said: defaultdict[str, deque[Said]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=RECENT))
    )
    profile: LabelProfile = field(default_factory=LabelProfile)

    def say(self, row: FeatureRow, label: str, shown: Shown | None = None) -> None:
        """Remember a label as the service would; it may correct what was *shown*."""
        is_correction = shown is not None and not shown.right and shown.decision.label is not None
        self.said[row.merchant].append(Said(row, label, is_correction))
        self.profile.learn(row, label)

    def history(self, row: FeatureRow) -> MerchantHistory | None:
        """What speaks for *row*; None where its merchant is unknown."""
        if not row.merchant or row.date is None:
            return None
        said = self.said.get(row.merchant, ())
        past = [
            PastLabel(
                it.row.norm_desc, it.label, 1, 1, it.row.date or row.date, age, it.is_correction
            )
            for age, it in enumerate(reversed(said), 1)
        ]
        return merchant_history(row, _merge_texts(past))


def _merge_texts(past: Sequence[PastLabel]) -> list[PastLabel]:
    """The same with each description and label once; those without a description stay apart."""
    merged: dict[object, PastLabel] = {}
    for it in past:
        key = (it.text or it.age, it.label)
        newer = merged.get(key)
        merged[key] = newer._replace(rows=newer.rows + 1) if newer else it
    return list(merged.values())


def table_row(shown: Sequence[Shown]) -> list[str]:
    """The columns of HEADINGS for *shown*."""
    by_layer: defaultdict[str, list[bool]] = defaultdict(list)
    for it in shown:
        if it.decision.label is not None:
            by_layer[it.decision.layer].append(it.right)
    answered = [right for layer in by_layer.values() for right in layer]
    layers = sorted(by_layer.items(), key=lambda item: -len(item[1]))
    wrong, confirm = answered.count(False), sum(it.offered for it in shown)
    choose = len(shown) - len(answered) - confirm
    return [
        f"{len(answered) / len(shown):.1%}",
        f"{sum(answered) / len(answered):.1%}" if answered else "",
        *(f"{100 * it / len(shown):.1f}" for it in (wrong, confirm, choose, wrong + choose)),
        "; ".join(
            f"{layer} {len(right) / len(shown):.1%} ({sum(right) / len(right):.1%} right)"
            for layer, right in layers
        ),
    ]
