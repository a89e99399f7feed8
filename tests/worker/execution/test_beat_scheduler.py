"""The beat asks for each night once, whatever its clock and its process go through."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.jobs.broker import celery
from worker.execution.beat_scheduler import Scheduler

DAY = dt.timedelta(days=1)
BEGIN = dt.datetime(2026, 3, 20, 12, tzinfo=dt.UTC)


class Clock:
    """A clock that goes as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = BEGIN
        monkeypatch.setattr(celery, "now", lambda: self.at)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def beat(tmp_path: Path, clock: Clock) -> Callable[[], Scheduler]:
    """A beat that goes on from the file of the one before; what it sends is noted, by its name."""
    sent: Counter[tuple[str, dt.date]] = Counter()

    def begin() -> Scheduler:
        made = Scheduler(celery, schedule_filename=str(tmp_path / "schedule"), max_interval=3600)
        made.sent = sent

        def note(entry: Any, producer: Any = None) -> None:
            sent[entry.name, clock.at.date()] += 1

        made.apply_entry = note
        made.__dict__["producer"] = None
        return made

    return begin


def until(beat: Scheduler, clock: Clock, end: dt.datetime) -> None:
    """Time goes by, from one look to the next."""
    while clock.at < end:
        clock.at = min(end, clock.at + dt.timedelta(seconds=max(1.0, beat.tick())))


def nights(beat: Scheduler) -> dict[dt.date, int]:
    return {day: times for (name, day), times in beat.sent.items() if name == "nightly"}


@pytest.mark.parametrize("first", [dt.date(2026, 3, 28), dt.date(2026, 10, 24)])
def test_nightly_run_happens_once_on_days_of_clock_changes(
    beat: Callable[[], Scheduler], clock: Clock, first: dt.date
) -> None:
    clock.at = dt.datetime.combine(first, dt.time(12), dt.UTC)
    running = beat()

    until(running, clock, clock.at + 3 * DAY)

    assert nights(running) == {first + n * DAY: 1 for n in (1, 2, 3)}


def test_clock_set_back_delays_no_run(beat: Callable[[], Scheduler], clock: Clock) -> None:
    """Also where the beat was started anew in between."""
    running = beat()
    until(running, clock, BEGIN + DAY)
    clock.at = BEGIN + 31 * DAY
    until(running, clock, BEGIN + 32 * DAY)
    clock.at = BEGIN + DAY
    until(running, clock, BEGIN + 3 * DAY)
    clock.at = BEGIN + 60 * DAY
    until(running, clock, BEGIN + 61 * DAY)
    running.close()
    clock.at = BEGIN + 3 * DAY
    running = beat()
    probes = running.sent["probe-features", clock.at.date()]

    until(running, clock, BEGIN + 5 * DAY)

    runs = nights(running)
    assert [runs.get((BEGIN + n * DAY).date(), 0) for n in range(1, 6)] == [1] * 5
    assert running.sent["probe-features", (BEGIN + 4 * DAY).date()] > 2700
    assert running.sent["probe-features", (BEGIN + 3 * DAY).date()] > probes + 1000


def test_night_without_a_beat_is_made_up_for_once(
    beat: Callable[[], Scheduler], clock: Clock
) -> None:
    running = beat()
    until(running, clock, BEGIN + dt.timedelta(hours=1))
    running.close()

    clock.at = BEGIN + 2 * DAY
    running = beat()
    until(running, clock, clock.at + dt.timedelta(hours=2))

    assert nights(running) == {clock.at.date(): 1}
