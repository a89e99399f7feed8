"""The confidence that each layer needs before it is shown, and how often labels repeat.

Training learns both (worker/training/thresholds.py) and stores them with the version. The defaults
serve until then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

RECENT = 50  # labels of a merchant that count, the newest by date
TIMES = (1, 2, 3, 5, 10)
SHARES = (0.0, 0.5, 0.8, 1.0)

_Rates = tuple[tuple[float, ...], ...]
RepeatRates = tuple[tuple[_Rates, _Rates], tuple[_Rates, _Rates]]
# How often the next label was a certain one of the earlier labels, by `repeat_cell`. Between the
# rates of three public files, nearer to the household's than to the offices'.
_OLDER: _Rates = (
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 0.3, 0.3, 0.3),
    (0.18, 0.35, 0.35, 0.35),
    (0.12, 0.33, 0.5, 0.5),
    (0.08, 0.3, 0.45, 0.5),
)
_NEWEST: _Rates = (
    (0.0, 0.0, 0.0, 0.92),
    (0.0, 0.62, 0.62, 0.94),
    (0.58, 0.75, 0.75, 0.97),
    (0.58, 0.76, 0.9, 0.98),
    (0.58, 0.8, 0.93, 0.99),
)
DEFAULT_REPEAT_RATES: RepeatRates = ((_OLDER, _NEWEST), (_OLDER, _NEWEST))


class RepeatCell(NamedTuple):
    """Which repeat rate holds for one label of a history."""

    same_text: int  # 1: the labels are of the same text; 0: of other descriptions of the merchant
    newest: int  # 1: it is the label given last
    times: int  # place in TIMES of the number of labels
    share: int  # place in SHARES of the share of them with that label

    def rate(self, rates: RepeatRates) -> float:
        return rates[self.same_text][self.newest][self.times][self.share]


def repeat_cell(times: int, of_times: int, *, newest: bool, same_text: bool = True) -> RepeatCell:
    """The cell of a label given *times* of *of_times*, at least once."""
    share = bisect_right(SHARES, times / of_times) - 1
    return RepeatCell(int(same_text), int(newest), bisect_right(TIMES, of_times) - 1, share)


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
    prior: float = 0.85
    starter: float = 0.87
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
        return cls(repeat_rates=nest(fields.pop("trust")), **fields)


def nest(plain: Any) -> Any:
    """Nested lists, as JSON has them, as nested tuples."""
    return tuple(map(nest, plain)) if isinstance(plain, list) else plain
