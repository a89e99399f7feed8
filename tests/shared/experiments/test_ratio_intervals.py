"""Intervals hold what they promise, also where the rows of a user stand and fall together."""

from __future__ import annotations

import numpy as np
import pytest

from shared.experiments.ratio_intervals import Rate, difference

ROUNDS = 2_000


def rate(x, y):
    """The sums over users that the database would give."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    return Rate(int((x > 0).sum()), *map(float, (x.sum(), y.sum(), x @ x, x @ y, y @ y)))


def arm(draw, users, mean, alike):
    """Users with 2 to many answers each, whose own rates scatter; *alike* is how little."""
    answers = 1 + draw.geometric(0.1, users)
    own = draw.beta(mean * alike, (1 - mean) * alike, users)
    return rate(answers, draw.binomial(answers, own))


@pytest.mark.parametrize(("users", "mean"), [(60, 0.6), (60, 0.85), (300, 0.9)])
def test_interval_of_a_rate_covers_it_in_95_of_100_samples(users, mean):
    """Where an interval that takes rows for independent holds it some 80 times."""
    draw = np.random.default_rng(20261123)
    held = naive = 0
    for _ in range(ROUNDS):
        found = arm(draw, users, mean, alike=10)
        low, high = found.interval()
        held += low <= mean <= high
        error = (found.value * (1 - found.value) / found.x) ** 0.5
        naive += abs(found.value - mean) < 1.96 * error

    assert 0.93 <= held / ROUNDS <= 0.97
    assert naive / ROUNDS < 0.85


@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_interval_of_a_difference_covers_it_in_95_of_100_samples(apart):
    draw = np.random.default_rng(7)
    held = 0
    for _ in range(ROUNDS):
        found = difference(arm(draw, 80, 0.7 + apart, 10), arm(draw, 120, 0.7, 10))
        held += found.interval.low <= apart <= found.interval.high

    assert 0.93 <= held / ROUNDS <= 0.97


@pytest.mark.parametrize(("users", "mean"), [(40, 0.95), (150, 0.8)])
def test_repeated_looks_seldom_find_harm_between_equal_arms(users, mean):
    """The guard looks all the time: with a 95% interval it would end many a harmless canary."""
    draw = np.random.default_rng(11)
    rounds, once, always = 200, 0, 0
    for _ in range(rounds):
        own = draw.beta(mean * 10, (1 - mean) * 10, (2, users))
        x, y = np.zeros((2, users)), np.zeros((2, users))
        ended = [False, False]
        for _ in range(100):
            new = draw.poisson(0.3, (2, users))
            x, y = x + new, y + draw.binomial(new, own)
            found = difference(rate(x[0], y[0]), rate(x[1], y[1]))
            if x.sum(axis=1).min() >= 100:
                ended[0] |= found.interval.high < 0
                ended[1] |= found.anytime_interval.high < 0
        once, always = once + ended[0], always + ended[1]

    assert always / rounds <= 0.025
    assert once / rounds > 0.06


def test_a_clear_harm_is_found():
    """Ten points lower, 300 users with ten answers or so: found nearly always."""
    draw = np.random.default_rng(3)
    found = [difference(arm(draw, 300, 0.7, 10), arm(draw, 300, 0.8, 10)) for _ in range(200)]

    assert np.mean([it.sign == -1 for it in found]) > 0.9


def test_interval_for_one_row_a_user_is_wilsons():
    """The textbook's figures for 80 of 100, but for Student's quantile in the place of 1.96."""
    low, high = rate(np.ones(100), np.arange(100) < 80).interval()

    assert low == pytest.approx(0.711, abs=0.002)
    assert high == pytest.approx(0.867, abs=0.002)


@pytest.mark.parametrize("share", [0, 1])
def test_unanimous_feedback_still_has_an_interval(share):
    """Thirty users who accepted everything do not prove that all will; nor do their many rows."""
    low, high = rate(np.full(30, 50), np.full(30, 50 * share)).interval()

    assert high - low == pytest.approx(0.12, abs=0.02)
    assert low <= share <= high


def test_interval_without_users_is_zero_to_one():
    assert Rate(0, 0.0, 0.0, 0.0, 0.0, 0.0).value is None
    assert rate([5], [3]).interval() == (0.0, 1.0)
    with pytest.raises(ValueError, match="without rows"):
        difference(rate([], []), rate([5], [3]))
