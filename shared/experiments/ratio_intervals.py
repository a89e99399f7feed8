"""Confidence intervals of a rate over users, and of the difference of two rates.

A user's rows are not independent, and users, not rows, are assigned to arms; so the width follows
from the variance between users. Pure; docs/canary.md names the sources of the formulas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

ALPHA = 0.05
Z = NormalDist().inv_cdf(1 - ALPHA / 2)
EFFECT = 0.05  # the size of difference that the wide interval is tuned to


class Interval(NamedTuple):
    """From low to high."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Sum of y over sum of x, 0 <= y <= x, held as sums over users."""

    users: int = 0  # with x > 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0  # sum of the users' x²
    xy: float = 0.0
    yy: float = 0.0

    @property
    def value(self) -> float | None:
        """From 0 to 1; None where there is no row."""
        return self.y / self.x if self.x else None

    def interval(self, z: float = Z) -> Interval:
        """The confidence interval of the value; 95% unless another normal quantile *z* is given.

        Wilson's interval with as many independent rows as would give the variance between users
        that the delta method finds; where each user has one row, that is Wilson's of the rows.
        """
        if self.users < 2:
            return Interval(0.0, 1.0)
        p = self.y / self.x
        left = max(self.yy - 2 * p * self.xy + p * p * self.xx, 0.0)
        variance = self.users / (self.users - 1) * left / self.x**2
        # Where users do not differ at all, each of them is one row.
        rows = p * (1 - p) / variance if variance > 1e-15 and 0 < p < 1 else float(self.users)
        # Few users with most of the rows are weaker evidence than as many with equal shares.
        z = _student(z, max(self.x**2 / self.xx - 1, 1.0))
        middle = (p + z * z / (2 * rows)) / (1 + z * z / rows)
        half = z / (1 + z * z / rows) * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
        return Interval(max(middle - half, 0.0), min(middle + half, 1.0))


NO_ROWS = Rate()


@dataclass(frozen=True, slots=True)
class Difference:
    """One rate less another.

    Attributes:
        interval: 95%, if it is looked at once.
        anytime_interval: 95%, however often it is looked at while rows come in; wider.
    """

    value: float
    interval: Interval
    anytime_interval: Interval

    @property
    def sign(self) -> int:
        """1 or -1 if the anytime interval excludes 0, else 0."""
        return (self.anytime_interval.low > 0) - (self.anytime_interval.high < 0)


def difference(one: Rate, other: Rate) -> Difference:
    """How far *one* lies above *other*. ValueError if one of them has no row."""
    if not one.x or not other.x:
        raise ValueError("a rate without rows differs from nothing")
    value = one.y / one.x - other.y / other.x
    once = _normal_interval(one, other, value, Z)
    error = (once.high - once.low) / (2 * Z)
    tuned = (EFFECT / error) ** 2
    wide = math.sqrt((1 + 1 / tuned) * (math.log1p(tuned) - 2 * math.log(ALPHA)))
    return Difference(value, once, _normal_interval(one, other, value, wide))


def _normal_interval(one: Rate, other: Rate, value: float, z: float) -> Interval:
    """Newcombe's interval of a difference, from those of the two rates."""
    first, p = one.interval(z), one.y / one.x
    second, q = other.interval(z), other.y / other.x
    return Interval(
        value - math.hypot(p - first.low, second.high - q),
        value + math.hypot(first.high - p, q - second.low),
    )


def _student(z: float, freedom: float) -> float:
    """Student's quantile from the normal one; the first term of the Cornish-Fisher expansion."""
    return z + (z**3 + z) / (4 * freedom)
