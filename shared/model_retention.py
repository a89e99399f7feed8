"""When versions retire that may have learned from a user who was deleted since.

A version holds hashes and numbers, no text of his; all the same it is what he said that it knows.
One that is not live is removed in time. The live one answers until another takes its place, and
from then on need not be beaten: the next version that reaches the threshold follows it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.tables import Deletion
from shared.errors import DamagedVersion
from shared.experiments import traffic_split
from shared.registry.store import ModelVersion, Registry
from shared.settings import Settings

# A run that began so soon after a deletion may have read what was just being deleted.
JUST_AFTER = dt.timedelta(hours=1)
NIGHT = dt.timedelta(days=1)  # what retires before the next night goes in this one


def retirement_due(
    session: Session, versions: Iterable[ModelVersion], after_days: int
) -> dict[str, dt.datetime]:
    """By when each version retires that may have learned from a deleted user."""
    deletions = session.execute(select(Deletion.known_since, Deletion.deleted_at)).all()
    found = {}
    for version in versions:
        made, read = training_time(version), _read_at(version)
        gone = [at for since, at in deletions if since <= made and read <= at + JUST_AFTER]
        if gone:
            found[version.run_id] = min(gone) + dt.timedelta(days=after_days)
    return found


def is_retired(retire_by: Mapping[str, dt.datetime], run_id: str) -> bool:
    """Whether a version retires before another night has come."""
    at = retire_by.get(run_id)
    return at is not None and at <= dt.datetime.now(dt.UTC) + NIGHT


def retire(session: Session, registry: Registry, settings: Settings) -> list[str]:
    """Remove the versions whose time is over, but for the live one; give their ids.

    A trial of one of them ends.

    Raises:
        DamagedVersion: it is unsure what is live, so nothing is removed.
        Unavailable: the registry does not do its part.
    """
    retire_by = retirement_due(session, registry.versions(), settings.retire_days)
    over = [run_id for run_id in retire_by if is_retired(retire_by, run_id)]
    if not over:
        return []
    traffic_split.lock(session)  # no trial begins with a version that is just being removed
    if traffic_split.current(session, settings).challenger in over:
        why = "it may have learned from a deleted user"
        traffic_split.end_trial(session, settings, "drop", by="retirement", why=why)
    return registry.remove(over)


def live_retirement(session: Session, registry: Registry, after_days: int) -> Metric:
    """When the live version retires, as a metric."""
    run_id = live(registry)
    at = run_id and retirement_due(session, registry.versions(), after_days).get(run_id)
    return GaugeMetricFamily(
        "lm_ml_live_retire_by_timestamp_seconds",
        "By when the live version retires, since it may have learned from a deleted user; 0: never",
        value=at.timestamp() if at else 0,
    )


def live(registry: Registry) -> str | None:
    """The id of the live version, as far as that can be told."""
    try:
        pointer = registry.current()
    except DamagedVersion:
        return None
    return pointer.run_id if pointer else None


def training_time(version: ModelVersion) -> dt.datetime:
    """When a version was made; of a damaged one that is not known, so it may be today."""
    if not version.created_at:
        return dt.datetime.now(dt.UTC)
    return dt.datetime.fromisoformat(version.created_at)


def _read_at(version: ModelVersion) -> dt.datetime:
    """When it began to read labels: it may have met who was deleted later than that."""
    if not version.created_at:
        return dt.datetime.min.replace(tzinfo=dt.UTC)
    return version.manifest.read_at
