"""/ml/v2/drift: whether traffic still looks as it did to the live version."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from shared import jobs
from shared.db import transaction
from shared.tables import DriftReport, JobKind, JobState
from web.context import services
from web.openapi import documented
from web.reading import parse_query
from web.schemas import Answer

bp = Blueprint("drift", __name__, url_prefix="/ml/v2")


class DriftQuery(BaseModel):
    """How many reports, the newest."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=365)] = 28


class DriftCheck(Answer):
    """One check: `psi` and `js` say how large the difference is, `p` how likely between weeks that
    are alike (null: too little to compare), `needed` from which `psi` on it is an alarm."""

    check: str
    psi: float
    js: float
    p: float | None
    needed: float | None
    spread: float
    alarm: bool


class Report(Answer):
    """A week of traffic beside the reference of the version that was live."""

    run_id: str
    window_start: str
    window_end: str
    rows: int
    alarm: bool
    checks: list[DriftCheck]
    estimated_accuracy: float | None
    labelled: int
    accuracy: float | None
    created_at: str


class Retrain(Answer):
    """Whether early training was asked for when it was last looked at, and why."""

    ask: bool
    why: str
    job_id: str | None
    at: str | None


class Drift(Answer):
    reports: list[Report]
    retrain: Retrain | None


@bp.get("/drift")
@documented(query=DriftQuery, answer=Drift, errors=(503,))
def show_drift() -> ResponseReturnValue:
    """The newest reports, newest first, and whether they led to training."""
    limit = parse_query(DriftQuery).limit
    newest = select(DriftReport).order_by(DriftReport.id.desc()).limit(limit)
    with transaction(services().engine) as session:
        found = [_report(report) for report in session.scalars(newest)]
        looked = jobs.newest(session, limit=1, kind=JobKind.DRIFT, state=JobState.SUCCEEDED)
    return {"reports": found, "retrain": _retrain(looked[0]) if looked else None}


def _report(report: DriftReport) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "window_start": report.window_start.isoformat(),
        "window_end": report.window_end.isoformat(),
        "rows": report.rows,
        "alarm": report.alarm,
        "checks": report.checks,
        "estimated_accuracy": report.estimated_accuracy,
        "labelled": report.labelled,
        "accuracy": report.accuracy,
        "created_at": report.created_at.isoformat(),
    }


def _retrain(job: Any) -> dict[str, Any]:
    at = job.finished_at.isoformat() if job.finished_at else None
    return {**job.result["retrain"], "at": at}
