"""Model retention: removes versions that may have learned from a deleted user.

A version holds hashes and numbers, no text, but they follow from the user's labels. When its time
is over, a version that is not live is removed; the live one stays until the next version that
reaches the threshold, which then need not be better.
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
from shared.registry.deleted_users import DELETION_TIME
from shared.registry.store import ModelVersion, Registry
from shared.settings import Settings

NIGHT = dt.timedelta(days=1)  # a version due before the next night is removed in this one


def retirement_due(
    session: Session, versions: Iterable[ModelVersion], after_days: int
) -> dict[str, dt.datetime]:
    """Return when each version retires that may have learned from a deleted user, by run_id."""
    deletions = session.execute(select(Deletion.known_since, Deletion.deleted_at)).all()
    due = {}
    for version in versions:
        made, read = training_time(version), _read_at(version)
        gone = [at for since, at in deletions if since <= made and read <= at + DELETION_TIME]
        if gone:
            due[version.run_id] = min(gone) + dt.timedelta(days=after_days)
    return due


def is_retired(retire_by: Mapping[str, dt.datetime], run_id: str) -> bool:
    """Whether a version retires before the next night."""
    at = retire_by.get(run_id)
    return at is not None and at <= dt.datetime.now(dt.UTC) + NIGHT


def retire(session: Session, registry: Registry, settings: Settings) -> list[str]:
    """Remove the versions that are due, except the live one; return their ids.

    A trial of one of them ends.

    Raises:
        DamagedVersion: which version is live is unknown, so nothing is removed.
        Unavailable: the registry's disk fails, or its lock is not free in time.
    """
    retire_by = retirement_due(session, registry.versions(), settings.retire_days)
    over = [run_id for run_id in retire_by if is_retired(retire_by, run_id)]
    if not over:
        return []
    traffic_split.lock(session)  # no trial may begin with a version that is being removed
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
    """The id of the live version; None if there is none, or the pointer is damaged."""
    try:
        pointer = registry.current()
    except DamagedVersion:
        return None
    return pointer.run_id if pointer else None


def training_time(version: ModelVersion) -> dt.datetime:
    """When a version was made; now for a damaged one, which may be that new."""
    if not version.created_at:
        return dt.datetime.now(dt.UTC)
    return dt.datetime.fromisoformat(version.created_at)


def _read_at(version: ModelVersion) -> dt.datetime:
    """When its run read the labels: users deleted later may be among them."""
    if not version.created_at:
        return dt.datetime.min.replace(tzinfo=dt.UTC)
    return version.manifest.read_at
