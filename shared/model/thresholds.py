"""How sure a suggestion must be to be shown, and how far what a user said before can be trusted.

Learned at training (worker/training/thresholds.py) and kept with the version; the defaults serve
until then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

RECENT = 50  # labels of a merchant count, the newest by date
TIMES = (1, 2, 3, 5, 10)
SHARES = (0.0, 0.5, 0.8, 1.0)

RepeatRates = tuple[tuple[float, ...], ...]
# How often the next label of a merchant was a certain one of its labels. Rows: it had been labelled
# so many times (TIMES, at least). Columns: that label had such a share of them (SHARES, at least).
# Between what three public files say, nearer to the household's than to the offices'.
DEFAULT_REPEAT_RATES: RepeatRates = (
    (0.0, 0.0, 0.0, 0.92),
    (0.0, 0.46, 0.5, 0.94),
    (0.25, 0.58, 0.75, 0.97),
    (0.25, 0.56, 0.75, 0.98),
    (0.15, 0.63, 0.88, 0.99),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The confidence that each layer needs, 0..1; below it, the answer is to ask.

    Attributes:
        model: by label.
        model_default: of labels that are not in it.
        memory, prior, starter: of the user's own memory, other users, and text alone.
        trust: as DEFAULT_TRUST.
    """

    model: Mapping[str, float] = field(default_factory=dict)
    model_default: float = 0.7
    memory: float = 0.7
    prior: float = 0.7
    starter: float = 0.8
    repeat_rates: RepeatRates = DEFAULT_REPEAT_RATES

    def with_overrides(self, thresholds: Mapping[str, float]) -> Thresholds:
        """With other bars for some categories of the model, and under `*` for all others."""
        if not thresholds:
            return self
        named = {label: bar for label, bar in thresholds.items() if label != "*"}
        if "*" in thresholds:
            return replace(self, model=named, model_default=thresholds["*"])
        return replace(self, model={**self.model, **named})

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Thresholds:
        """What as_json gave, after a trip through JSON."""
        return cls(**{**plain, "trust": tuple(map(tuple, plain["trust"]))})


def times_bin(times: int) -> int:
    """Which row of a trust table is of a merchant labelled so often, at least once."""
    return bisect_right(TIMES, times) - 1


def share_bin(share: float) -> int:
    """Which column of a trust table is of a label with such a share."""
    return bisect_right(SHARES, share) - 1
