"""What the text alone tells of a transaction, in the words of the user: the last layer to be asked.

Without a label from him it is the kind of shop under its own name. With each label he gives, it
says more of what he calls such shops, and less of what they are called here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.features.brands import CategoryMatch, lookup_category
from shared.features.extract import FeatureRow
from shared.features.taxonomy import category_of_label
from shared.suggestions.decision import ColdStart

# How often the kind is the right one, by what tells it; see docs/quality.md.
PRIOR_PRECISION = {"mcc": 0.9, "brand": 0.9, "word": 0.75, "channel": 0.8}
PRIOR_WEIGHT = 5  # labels of his that weigh as much as RIGHT
_SHOWN_AS = {"mcc": "category code", "word": "words"}


@dataclass(slots=True)
class LabelProfile:
    """What a user calls the kinds of shops, from some of his labelled transactions."""

    pending: list[tuple[FeatureRow, str]] = field(default_factory=list)  # not yet looked into
    labels_by_category: defaultdict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    names: dict[str, str] = field(default_factory=dict)  # of his labels, those that name a kind
    hits: int = 0  # how often the kind's own name, or his for it, would have been right
    seen: int = 0

    @classmethod
    def of(cls, labelled: Iterable[tuple[FeatureRow, str]]) -> LabelProfile:
        """From labelled transactions, in any order."""
        habits = cls()
        for row, label in labelled:
            habits.learn(row, label)
        return habits

    def learn(self, row: FeatureRow, label: str) -> None:
        """One more label of his; looked into when it is first needed, for that takes a while."""
        self.pending.append((row, label))

    def _match(self, row: FeatureRow, label: str) -> None:
        named = category_of_label(label)
        if named:
            self.names.setdefault(named, label)
        if told := lookup_category(row):
            self.labels_by_category[told.category][label] += 1
            self.seen += 1
            self.hits += told.category in (named, label)

    def cold_start(self, row: FeatureRow) -> ColdStart | None:
        """What *row* is by its text; None where that tells nothing."""
        told = lookup_category(row)
        if told is None:
            return None
        while self.pending:
            self._match(*self.pending.pop(0))
        usual = (self.hits + PRIOR_WEIGHT * PRIOR_PRECISION[told.source]) / (
            self.seen + PRIOR_WEIGHT
        )
        reason = f"{_SHOWN_AS.get(told.source, told.source)}: {told.evidence}"
        if not (called := self.labels_by_category.get(told.category)):
            return ColdStart(self._name(told), usual, reason)
        label, times = called.most_common(1)[0]
        whole = called.total()
        reason += f"; you chose {label} for {times} of {whole} such"
        return ColdStart(label, (times + usual) / (whole + 1), reason)

    def _name(self, told: CategoryMatch) -> str:
        return self.names.get(told.category, told.category)
