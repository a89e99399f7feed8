"""A week of traffic is compared with the weeks before: alike raises nothing, a shift is caught."""

from __future__ import annotations

import numpy as np
import pytest

from shared.monitoring.drift_metrics import CHECKS
from worker.drift.comparison import FAMILY_ERROR, SIZE_MIN, Check, compare, estimated_accuracy
from worker.drift.profile import WEEKS, Counts, ReferenceProfile, WindowProfile

CHANNELS = ("pos", "online", "atm", "transfer")


def week(draw: np.random.Generator, rows: int, shift: float = 0.0, spread: float = 0.0) -> Counts:
    """A week's channels; *spread* makes weeks differ by more than chance, *shift* moves rows."""
    usual = np.array([0.6, 0.25, 0.05, 0.1])
    if spread:
        usual = draw.dirichlet(usual / spread)
    usual = (1 - shift) * usual + shift * np.array([0, 0, 0, 1.0])
    counts = draw.multinomial(rows, usual).tolist()
    return {"channel": dict(zip(CHANNELS, counts, strict=True))}


def reference(draw: np.random.Generator, rows: int = 500, spread: float = 0.0) -> ReferenceProfile:
    weeks = tuple(week(draw, rows, spread=spread) for _ in range(WEEKS))
    return ReferenceProfile(inputs=weeks, answers=(), accuracy=0.9, confidence=0.88)


def channel(before: ReferenceProfile, now: Counts) -> Check:
    found = {it.check: it for it in compare(before, WindowProfile([now], [], 500, 0.0))}
    assert tuple(found) == CHECKS
    return found["channel"]


@pytest.mark.parametrize("spread", [0.0, 0.005, 0.02])
def test_alike_weeks_seldom_raise_an_alarm(spread: float) -> None:
    """However much weeks differ anyway: that is measured on the reference."""
    draw = np.random.default_rng(5)
    chances = []
    for _ in range(300):
        found = channel(reference(draw, spread=spread), week(draw, 500, spread=spread))
        assert found.p is not None
        chances.append(found.p)

    assert np.mean(np.array(chances) < FAMILY_ERROR) < 0.08


def test_test_that_ignores_users_would_raise_false_alarms() -> None:
    """The same weeks, judged without the spread: that is what it is for."""
    draw = np.random.default_rng(5)
    found = [channel(reference(draw, spread=0.02), week(draw, 500, spread=0.02)) for _ in range(50)]

    assert np.median([it.spread for it in found]) > 5


@pytest.mark.parametrize("rows", [250, 1_000, 20_000])
def test_shift_of_a_quarter_of_the_channels_is_detected(rows: int) -> None:
    draw = np.random.default_rng(5)
    for _ in range(100):
        found = channel(reference(draw), week(draw, rows, shift=0.25))
        assert found.alarm
        assert found.needed is not None
        assert found.psi >= found.needed >= SIZE_MIN


def test_new_channel_is_detected() -> None:
    draw = np.random.default_rng(5)

    found = channel(reference(draw), {"channel": {"pos": 300, "pigeon": 200}})

    assert found.alarm


def test_small_significant_difference_is_no_alarm() -> None:
    draw = np.random.default_rng(5)

    found = channel(reference(draw, rows=50_000), week(draw, 50_000, shift=0.03))

    assert found.p is not None
    assert found.p < 0.001
    assert not found.alarm


@pytest.mark.parametrize(("weeks", "rows"), [(3, 500), (13, 20)])
def test_comparison_of_too_few_rows_gives_no_result(weeks: int, rows: int) -> None:
    draw = np.random.default_rng(5)
    few = tuple(week(draw, rows) for _ in range(weeks))
    before = ReferenceProfile(inputs=few, answers=(), accuracy=0.9, confidence=0.9)

    found = channel(before, week(draw, 500, shift=0.5))

    assert (found.p, found.needed, found.alarm) == (None, None, False)


def test_accuracy_is_estimated_from_confidences() -> None:
    before = reference(np.random.default_rng(5))

    assert estimated_accuracy(before, 0.88) == pytest.approx(0.9)
    assert estimated_accuracy(before, 0.68) == pytest.approx(0.7)
    assert estimated_accuracy(before, 0.0) == pytest.approx(0.02)


def test_reference_profile_is_read_back_from_its_file() -> None:
    before = reference(np.random.default_rng(5))

    assert ReferenceProfile.from_file(before.to_file()) == before
