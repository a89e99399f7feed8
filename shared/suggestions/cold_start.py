"""Cold start: a suggestion from the text alone, in the user's own category names.

Without labels of the user it is the default category of the text. Each label shifts weight from the
default to the labels that the user gave to texts of that category.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from shared.features.brands import lookup_category
from shared.features.extract import FeatureRow
from shared.features.taxonomy import category_of_label
from shared.suggestions.decision import ColdStart

# How often the default category is right, by what it was read from; see docs/quality.md.
PRIOR_PRECISION = {"mcc": 0.9, "brand": 0.9, "word": 0.75, "channel": 0.8}
PRIOR_WEIGHT = 5  # labels of a user that weigh as much as PRIOR_PRECISION
_SHOWN_AS = {"mcc": "category code", "word": "words"}


@dataclass(slots=True)
class LabelProfile:
    """Which labels a user gives to each default category."""

    pending: list[tuple[FeatureRow, str]] = field(default_factory=list)  # not counted yet
    labels_by_category: defaultdict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    names: dict[str, str] = field(default_factory=dict)  # the user's name of a default category
    correct: int = 0  # counted labels that are the default category, by its own or the user's name
    counted: int = 0

    def learn(self, row: FeatureRow, label: str) -> None:
        """Add a label. It is counted when first needed, since that takes a while."""
        self.pending.append((row, label))

    def _count(self, row: FeatureRow, label: str) -> None:
        named = category_of_label(label)
        if named:
            self.names.setdefault(named, label)
        if match := lookup_category(row):
            self.labels_by_category[match.category][label] += 1
            self.counted += 1
            self.correct += match.category in (named, label)

    def cold_start(self, row: FeatureRow) -> ColdStart | None:
        """The suggestion for *row*; None where its text points to no category."""
        match = lookup_category(row)
        if match is None:
            return None
        while self.pending:
            self._count(*self.pending.pop(0))
        precision = (self.correct + PRIOR_WEIGHT * PRIOR_PRECISION[match.source]) / (
            self.counted + PRIOR_WEIGHT
        )
        reason = f"{_SHOWN_AS.get(match.source, match.source)}: {match.evidence}"
        labels = self.labels_by_category.get(match.category)
        if not labels:
            return ColdStart(self.names.get(match.category, match.category), precision, reason)
        label, times = labels.most_common(1)[0]
        total = labels.total()
        reason += f"; you chose {label} for {times} of {total} such"
        return ColdStart(label, (times + precision) / (total + 1), reason)
