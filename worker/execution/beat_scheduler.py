"""A scheduler for Celery's beat that survives a clock that is set back.

Celery runs an entry only after the time of its last run. If the clock was ahead for a while,
nothing would run until that time comes again.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from celery.beat import PersistentScheduler

TOLERANCE = dt.timedelta(seconds=5)


class Scheduler(PersistentScheduler):  # type: ignore[misc]  # Celery has no types
    """Treats an entry whose last run lies in the future as having run just now."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; return the seconds until the next tick."""
        now = self.app.now()
        ahead = [entry for entry in self.schedule.values() if entry.last_run_at > now + TOLERANCE]
        for entry in ahead:
            entry.last_run_at = now
        if ahead:
            self._heap = None  # ordered by the old times
        return float(super().tick(*args, **kwargs))
