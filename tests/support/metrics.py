"""Samples of collected metrics, and ended jobs for them to be of."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from sqlalchemy import text
from sqlalchemy.orm import Session


def samples_by_label(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def add_job(
    session: Session,
    kind: str,
    *,
    ago: float,
    waited: float,
    worked: float,
    state: str = "succeeded",
) -> None:
    """Add a job that was requested *ago* seconds before now, and has ended."""
    session.execute(
        text(
            "INSERT INTO jobs (id, kind, state, requested_by, created_at, started_at, finished_at) "
            "VALUES (md5(random()::text), :kind, :state, 'test', now() - :ago * interval '1 s', "
            "now() - (:ago - :waited) * interval '1 s', "
            "now() - (:ago - :waited - :worked) * interval '1 s')"
        ),
        {"kind": kind, "state": state, "ago": ago, "waited": waited, "worked": worked},
    )
