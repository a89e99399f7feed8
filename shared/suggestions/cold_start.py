"""What the text alone tells of a transaction, in the words of the user: the last layer to be asked.

Without a label from him it is the kind of shop under its own name. With each label he gives, it
says more of what he calls such shops, and less of what they are called here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.features.brands import Guess, guess
from shared.features.extract import FeatureRow
from shared.features.taxonomy import kind_named
from shared.suggestions.decision import Starter

# How often the kind is the right one, by what tells it; see docs/quality.md.
RIGHT = {"mcc": 0.9, "brand": 0.9, "word": 0.75, "channel": 0.8}
PATIENCE = 5  # labels of his that weigh as much as RIGHT
_SHOWN_AS = {"mcc": "category code", "word": "words"}


@dataclass(slots=True)
class Habits:
    """What a user calls the kinds of shops, from some of his labelled transactions."""

    heard: list[tuple[FeatureRow, str]] = field(default_factory=list)  # not yet looked into
    called: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    names: dict[str, str] = field(default_factory=dict)  # of his labels, those that name a kind
    hits: int = 0  # how often the kind's own name, or his for it, would have been right
    seen: int = 0

    @classmethod
    def of(cls, labelled: Iterable[tuple[FeatureRow, str]]) -> Habits:
        """From labelled transactions, in any order."""
        habits = cls()
        for row, label in labelled:
            habits.learn(row, label)
        return habits

    def learn(self, row: FeatureRow, label: str) -> None:
        """One more label of his; looked into when it is first needed, for that takes a while."""
        self.heard.append((row, label))

    def _look_into(self, row: FeatureRow, label: str) -> None:
        named = kind_named(label)
        if named:
            self.names.setdefault(named, label)
        if told := guess(row):
            self.called[told.kind][label] += 1
            self.seen += 1
            self.hits += told.kind in (named, label)

    def starter(self, row: FeatureRow) -> Starter | None:
        """What *row* is by its text; None where that tells nothing."""
        told = guess(row)
        if told is None:
            return None
        while self.heard:
            self._look_into(*self.heard.pop(0))
        usual = (self.hits + PATIENCE * RIGHT[told.source]) / (self.seen + PATIENCE)
        reason = f"{_SHOWN_AS.get(told.source, told.source)}: {told.evidence}"
        if not (called := self.called.get(told.kind)):
            return Starter(self._name(told), usual, reason)
        label, times = called.most_common(1)[0]
        whole = called.total()
        reason += f"; you chose {label} for {times} of {whole} such"
        return Starter(label, (times + usual) / (whole + 1), reason)

    def _name(self, told: Guess) -> str:
        return self.names.get(told.kind, told.kind)
