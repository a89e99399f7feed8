"""Cold start: a suggestion from the text alone, in the user's own category names.

Without labels of the user it is the default category of the text: which names a user prefers cannot
be known, so it is hardly more than a guess. Each label that they give to texts of that category
replaces the guess by what they call such texts, and makes it surer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from shared.features.brands import lookup_category
from shared.features.extract import FeatureRow
from shared.features.taxonomy import category_of_label
from shared.suggestions.decision import ColdStart

# The guess counts as GUESS_WEIGHT labels, of which GUESS_PRECISION are right: measured in the first
# rows of new users, see docs/suggestions.md.
GUESS_PRECISION, GUESS_WEIGHT = 0.25, 2
_SHOWN_AS = {"mcc": "category code", "word": "words"}


@dataclass(slots=True)
class LabelProfile:
    """Which labels a user gives to each default category."""

    pending: list[tuple[FeatureRow, str]] = field(default_factory=list)  # not counted yet
    labels_by_category: defaultdict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    names: dict[str, str] = field(default_factory=dict)  # the user's name of a default category

    def learn(self, row: FeatureRow, label: str) -> None:
        """Add a label. It is counted when first needed, since that takes a while."""
        self.pending.append((row, label))

    def _count(self, row: FeatureRow, label: str) -> None:
        named = category_of_label(label)
        if named:
            self.names.setdefault(named, label)
        if match := lookup_category(row):
            self.labels_by_category[match.category][label] += 1

    def cold_start(self, row: FeatureRow) -> ColdStart | None:
        """The suggestion for *row*; None where its text points to no category."""
        match = lookup_category(row)
        if match is None:
            return None
        while self.pending:
            self._count(*self.pending.pop(0))
        reason = f"{_SHOWN_AS.get(match.source, match.source)}: {match.evidence}"
        labels = self.labels_by_category.get(match.category, Counter())
        guess = self.names.get(match.category, match.category)
        label, times = max(labels.items(), key=lambda item: item[1], default=(guess, 0))
        total = labels.total()
        if total:
            reason += f"; you chose {label} for {times} of {total} such"
        confidence = (times + GUESS_WEIGHT * GUESS_PRECISION) / (total + GUESS_WEIGHT)
        return ColdStart(label, confidence, reason)
