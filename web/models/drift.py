"""/ml/v2/drift: weekly comparisons of the traffic with the live version's reference profile."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field
from sqlalchemy import select

from shared.db.engine import transaction
from shared.db.tables import DriftReport, JobKind, JobState
from shared.jobs import store as job_store
from web.http.context import get_services
from web.http.openapi import documented
from web.http.parsing import parse_query
from web.http.schemas import Answer, Query, Timestamp

bp = Blueprint("drift", __name__, url_prefix="/ml/v2")


class DriftQuery(Query):
    """How many of the newest reports."""

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
    window_start: dt.date
    window_end: dt.date
    rows: int
    alarm: bool
    checks: list[DriftCheck]
    estimated_accuracy: float | None
    labelled: int
    accuracy: float | None
    created_at: Timestamp


class Retrain(Answer):
    """Whether the newest check requested early training, and why."""

    ask: bool
    why: str
    job_id: str | None
    at: Timestamp | None


class Drift(Answer):
    reports: list[Report]
    retrain: Retrain | None


@bp.get("/drift")
@documented(query=DriftQuery, answer=Drift, errors=(503,))
def show_drift() -> ResponseReturnValue:
    """The newest reports, newest first, and whether they led to training."""
    limit = parse_query(DriftQuery).limit
    newest = select(DriftReport).order_by(DriftReport.id.desc()).limit(limit)
    with transaction(get_services().engine) as session:
        reports = [Report.model_validate(report) for report in session.scalars(newest)]
        jobs = job_store.list_newest(session, limit=1, kind=JobKind.DRIFT, state=JobState.SUCCEEDED)
    retrain = [Retrain(**(job.result or {})["retrain"], at=job.finished_at) for job in jobs]
    return jsonify(Drift(reports=reports, retrain=retrain[0] if retrain else None))
