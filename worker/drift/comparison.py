"""Drift tests: whether a week differs from the reference by more than weeks usually do.

Transactions come in clusters: a user shops at the same places, a payday moves thousands at once. So
weeks differ by more than chance, and a test that took rows as independent would raise false alarms.
How much more is measured on the reference, as the mean of Pearson's statistic over its weeks (Rao
and Scott's first-order correction); the statistic of the new week is divided by it.

Sources: Rao and Scott, "On Chi-Squared Tests for Multiway Contingency Tables with Cell Proportions
Estimated from Survey Data", Annals of Statistics 12 (1984); Yurdakul, "Statistical Properties of
Population Stability Index" (2018); Holm, Scandinavian Journal of Statistics 6 (1979); the estimate
of accuracy: Guillory et al., "Predicting with Confidence on Unseen Distributions" (ICCV 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import fdtrc, fdtri  # a tenth of the weight of scipy.stats

from shared.monitoring.drift_metrics import ANSWERS, INPUTS
from worker.drift.profile import Counts, ReferenceProfile, WindowProfile

FAMILY_ERROR = 0.05  # chance that a week like those of the reference raises any alarm
SIZE_MIN = 0.1  # PSI below which a difference does not matter
WEEKS_MIN = 4  # of the reference, with WEEK_ROWS_MIN each
WEEK_ROWS_MIN = 50
WINDOW_MIN = 200  # rows
_RARE = 0.02  # bins with a smaller share of the reference are merged
_OTHER = "(other)"


class Check(NamedTuple):
    """One test of a window against the reference."""

    check: str
    psi: float  # population stability index; 0 is equal, 0.25 and more is usually called large
    js: float  # Jensen–Shannon divergence in bits, 0 to 1
    p: float | None  # p-value, corrected for all checks; None: there are too few rows or weeks
    needed: float | None  # the PSI from which on it would have been an alarm; None as with p
    spread: float  # variation between the weeks of the reference, 1 as by chance
    alarm: bool  # whether the difference is significant, and large enough to matter


def compare(reference: ReferenceProfile, window: WindowProfile) -> list[Check]:
    """Every check, in the order of drift_metrics.CHECKS."""
    raw = [
        *(_check(name, reference.inputs, window.inputs) for name in INPUTS),
        *(_check(name, reference.answers, window.answers) for name in ANSWERS),
    ]
    adjusted = _holm([it.p for it in raw])
    tests = sum(p is not None for p in adjusted)
    return [
        it.check._replace(
            p=p,
            needed=it.needed(FAMILY_ERROR / tests) if p is not None else None,
            alarm=p is not None and p < FAMILY_ERROR and it.check.psi >= SIZE_MIN,
        )
        for it, p in zip(raw, adjusted, strict=True)
    ]


def estimated_accuracy(reference: ReferenceProfile, confidence: float) -> float:
    """Estimate accuracy without labels: that of the reference, shifted as the mean *confidence*."""
    return min(max(reference.accuracy + confidence - reference.confidence, 0.0), 1.0)


class _RawCheck(NamedTuple):
    check: Check
    p: float | None
    scale: float  # Pearson's statistic for a PSI of 1, by spread and freedom
    freedom: tuple[int, int]

    def needed(self, alpha: float) -> float:
        if not self.scale:
            return SIZE_MIN
        return max(float(fdtri(*self.freedom, 1 - alpha)) / self.scale, SIZE_MIN)


def _check(name: str, weeks: Sequence[Counts], now: Sequence[Counts]) -> _RawCheck:
    table, counts = _table(name, weeks), _table(name, now).sum()
    table = table[table.sum(axis=1) >= WEEK_ROWS_MIN]
    table, counts = _merge_rare(table, counts)
    n, m = table.to_numpy().sum(), counts.sum()
    if len(table) < WEEKS_MIN or m < WINDOW_MIN or counts.size < 2:
        return _RawCheck(Check(name, 0.0, 0.0, None, None, 1.0, alarm=False), None, 0.0, (1, 1))
    usual, new = _shares(table.sum()), _shares(counts)
    freedom = counts.size - 1, (len(table) - 1) * (counts.size - 1)
    spread = max(_spread(table, usual, freedom[1]), 1.0)
    pooled = _shares(table.sum() + counts)
    rows = n * m / (n + m)
    statistic = rows * float(((new - usual) ** 2 / pooled).sum())
    p = float(fdtrc(*freedom, statistic / spread / freedom[0]))
    psi = float(((new - usual) * np.log(new / usual)).sum())
    check = Check(name, psi, _js(usual, new), None, None, spread, alarm=False)
    return _RawCheck(check, p, rows / spread / freedom[0], freedom)


def _shares(counts: pd.Series[float]) -> NDArray[np.float64]:
    """Half a row is added to each bin: an empty one would make the PSI infinite."""
    return np.asarray((counts + 0.5) / (counts + 0.5).sum(), dtype=np.float64)


def _spread(table: pd.DataFrame, usual: NDArray[np.float64], freedom: int) -> float:
    """Pearson's statistic of the weeks, divided by its mean if they differed by chance alone."""
    counts = table.to_numpy()
    expected = counts.sum(axis=1, keepdims=True) * usual
    return float(((counts - expected) ** 2 / expected).sum() / freedom)


def _table(check: str, weeks: Sequence[Counts]) -> pd.DataFrame:
    """The counts of one check: a row a week, a column a bin, by name."""
    table = pd.DataFrame([week.get(check, {}) for week in weeks], index=range(len(weeks)))
    return table.fillna(0).astype(float).sort_index(axis=1)


def _merge_rare(
    table: pd.DataFrame, counts: pd.Series[float]
) -> tuple[pd.DataFrame, pd.Series[float]]:
    """The reference and the window with the same bins; those rare in the reference are merged."""
    total = table.sum()
    common = total.index[(total > 0) & (total >= _RARE * total.sum())]
    other, others = table.drop(columns=common), counts.drop(common, errors="ignore")
    table, counts = table[common], counts.reindex(common, fill_value=0.0)
    if (other.sum() > 0).any() or (others > 0).any():
        table = table.assign(**{_OTHER: other.sum(axis=1)})
        counts[_OTHER] = others.sum()
    return table, counts


def _js(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    middle = (one + other) / 2
    return float(sum((side * np.log2(side / middle)).sum() for side in (one, other)) / 2)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for multiple tests; None stays."""
    ranked = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, index) in enumerate(ranked):
        least = max(least, min(1.0, p * (len(ranked) - rank)))
        adjusted[index] = least
    return adjusted
