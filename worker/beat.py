"""The scheduler of Celery's beat, for a clock that may be put back.

Celery asks when an entry ran last, and does not run it before that moment has passed again. Where
the clock was ahead for a while, it would be silent until then.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from celery.beat import PersistentScheduler

SLACK = dt.timedelta(seconds=5)


class Scheduler(PersistentScheduler):  # type: ignore[misc]  # Celery has no types
    """Takes what ran later than now for what ran just now."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; give the seconds until the next look."""
        now = self.app.now()
        ahead = [it for it in self.schedule.values() if it.last_run_at > now + SLACK]
        for entry in ahead:
            entry.last_run_at = now
        if ahead:
            self._heap = None  # it is ordered by the moments that were expected
        return float(super().tick(*args, **kwargs))
