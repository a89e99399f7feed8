"""The confidence that each layer needs before it is shown, and how often labels repeat.

Training learns both (worker/training/thresholds.py) and stores them with the version. The defaults
serve until then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

RECENT = 50  # labels of a merchant that count, the newest by date
TIMES = (1, 2, 3, 5, 10)
SHARES = (0.0, 0.5, 0.8, 1.0)

RepeatRates = tuple[tuple[float, ...], ...]
# How often the next label of a merchant was a certain one of its labels. Rows: how many labels the
# merchant had (TIMES, at least). Columns: the share of them with that label (SHARES, at least).
# Between the rates of three public files, nearer to the household's than to the offices'.
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
        model_default: for labels that are not in it.
        memory, prior, starter: for the user's own labels, other users, and text alone.
        repeat_rates: as DEFAULT_REPEAT_RATES.
    """

    model: Mapping[str, float] = field(default_factory=dict)
    model_default: float = 0.7
    memory: float = 0.7
    prior: float = 0.7
    starter: float = 0.8
    repeat_rates: RepeatRates = DEFAULT_REPEAT_RATES

    def with_overrides(self, thresholds: Mapping[str, float]) -> Thresholds:
        """Replace the thresholds of some labels of the model; `*` replaces all others."""
        named = {label: value for label, value in thresholds.items() if label != "*"}
        if "*" in thresholds:
            return replace(self, model=named, model_default=thresholds["*"])
        return replace(self, model={**self.model, **named})

    def as_json(self) -> dict[str, Any]:
        """Plain values, as stored with a version."""
        plain = asdict(self)
        plain["trust"] = plain.pop("repeat_rates")
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Thresholds:
        """Read what `as_json` wrote, after a trip through JSON."""
        fields = dict(plain)
        return cls(repeat_rates=tuple(map(tuple, fields.pop("trust"))), **fields)


def times_bin(times: int) -> int:
    """The row of RepeatRates for a merchant with so many labels, at least one."""
    return bisect_right(TIMES, times) - 1


def share_bin(share: float) -> int:
    """The column of RepeatRates for a label with this share."""
    return bisect_right(SHARES, share) - 1
