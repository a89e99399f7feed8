"""The API: each view parses, calls one function and shapes the answer."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from typing import Any

from flask import Blueprint, current_app, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter

from shared import jobs, metrics_ml, queue
from shared.db import transaction
from shared.errors import FieldError, InvalidInput, NotEnoughLabels
from shared.explain import explain
from shared.features import RawTransaction, features_of
from shared.services import Services
from shared.tables import Job
from web import answers, intake, lookup, reading, schemas, versions
from web.auth import caller
from web.openapi import documented
from web.reading import parse

bp = Blueprint("ml_v2", __name__, url_prefix="/ml/v2")

PREDICT: TypeAdapter[Any] = TypeAdapter(schemas.PredictRequest)
PREDICT_BATCH = TypeAdapter(schemas.PredictBatchRequest)
FEATURES = TypeAdapter(schemas.FeaturesRequest)
TRAIN = TypeAdapter(schemas.TrainRequest)
WHY = TypeAdapter(schemas.WhyRequest)
TRANSACTIONS = TypeAdapter(schemas.TransactionsRequest)
LABELS = TypeAdapter(schemas.LabelsRequest)
_KEY = re.compile(r"[!-~]{1,200}")


def services() -> Services:
    """What this process holds."""
    held: Services = current_app.extensions["ledger"]
    return held


@bp.post("/predict")
@documented(body=schemas.PredictRequest, answer=schemas.Prediction, errors=(404, 503))
def predict() -> ResponseReturnValue:
    """Say which category a transaction belongs to.

    Raw fields, each of which may be missing, or `{"txn_id": …}`. Raw fields need neither the
    database nor the broker; only the look-up of a `txn_id` answers 503 while PostgreSQL is down.
    """
    return told(_transaction(parse(PREDICT)), services())


def told(raw: RawTransaction, held: Services) -> dict[str, Any]:
    """The answer for one transaction."""
    started = time.perf_counter()
    with metrics_ml.phase("predict", "features"):
        row = features_of(raw)
    with metrics_ml.phase("predict", "model"):
        answer = held.runtime.predict(row)
    metrics_ml.predicted(available=answer is not None, seconds=time.perf_counter() - started)
    if answer is None:
        return {"available": False}
    return lookup.as_json(answer.prediction, answer.served)


@bp.post("/predict/batch")
@documented(body=schemas.PredictBatchRequest, answer=schemas.PredictBatchAnswer, errors=(503,))
def predict_batch() -> ResponseReturnValue:
    """Predict up to 1,000 rows, in order, all by one version; a bad row gets an error."""
    rows = parse(PREDICT_BATCH).rows
    started = time.perf_counter()
    served = services().runtime.served()
    results = lookup.many(services().engine, PREDICT, rows, served)
    metrics_ml.predicted(available=served is not None, seconds=time.perf_counter() - started)
    return {"results": results}


@bp.post("/predict/explain")
@documented(body=schemas.PredictRequest, answer=answers.Explanation, errors=(404, 503))
def predict_explain() -> ResponseReturnValue:
    """Predict one transaction, and say what moved each category that was considered.

    Takes what `/ml/v2/predict` takes, and answers the same label and confidence.
    """
    row = features_of(_transaction(parse(PREDICT)))
    served = services().runtime.served()
    if served is None:
        return {"available": False}
    return answers.explained(explain(served.model, row), served)


@bp.post("/features")
@documented(
    body=schemas.FeaturesRequest,
    body_may_be_empty=True,
    answer=schemas.Asked,
    status=202,
    errors=(503,),
    idempotent_by_key=True,
)
def features() -> ResponseReturnValue:
    """Have the features of new and changed transactions built."""
    wanted = parse(FEATURES, empty="{}")
    job = queue.request_features(
        services().engine,
        services().messenger,
        requested_by=caller(),
        days=None if wanted.all else wanted.days,
        idempotency_key=idempotency_key(),
    )
    return asked_for(job)


@bp.post("/train")
@documented(
    body=schemas.TrainRequest,
    body_may_be_empty=True,
    answer=schemas.Asked,
    status=202,
    errors=(409, 503),
    idempotent_by_key=True,
)
def train() -> ResponseReturnValue:
    """Have a model trained; it goes live if it passes the gate.

    400 `not_enough_labels` at once where there is too little to learn from; 409 with the `job_id`
    of the run that is queued or running.
    """
    wanted = parse(TRAIN, empty="{}")
    key = idempotency_key()
    with transaction(services().engine) as session:
        found, needed = intake.count_labels(session), services().settings.min_labels
    if found < needed:
        raise NotEnoughLabels(
            f"{found} labelled transactions found, {needed} needed", found=found, needed=needed
        )
    job = queue.request_training(
        services().engine,
        services().messenger,
        requested_by=caller(),
        limit=wanted.limit,
        deploy=wanted.deploy,
        idempotency_key=key,
    )
    return asked_for(job)


@bp.get("/jobs")
@documented(query=schemas.JobsQuery, answer=schemas.Jobs, errors=(503,))
def list_jobs() -> ResponseReturnValue:
    """The newest jobs."""
    wanted = reading.parse_query(schemas.JobsQuery)
    with transaction(services().engine) as session:
        found = jobs.newest(session, limit=wanted.limit, kind=wanted.kind, state=wanted.state)
    return {"jobs": [_job(job) for job in found]}


@bp.get("/jobs/<job_id>")
@documented(answer=schemas.Job, errors=(404, 503))
def show_job(job_id: str) -> ResponseReturnValue:
    """How far a job is, or how it ended."""
    with transaction(services().engine) as session:
        return _job(jobs.get(session, job_id))


@bp.delete("/jobs/<job_id>")
@documented(answer=schemas.Job, status=202, errors=(404, 503))
def cancel_job(job_id: str) -> ResponseReturnValue:
    """Ask for the end of a job; it ends `cancelled` within seconds, or has ended already."""
    with transaction(services().engine) as session:
        return _job(jobs.cancel(session, job_id)), 202


@bp.get("/model/status")
@documented(answer=schemas.ModelStatus)
def model_status() -> ResponseReturnValue:
    """The version that this process answers with."""
    status = services().runtime.status()
    meta = {key: value for key, value in status.meta.items() if key != "report"}
    if status.available and status.error:
        meta["problem"] = status.error
    return jsonify(available=status.available, meta=meta)


@bp.get("/models")
@documented(answer=schemas.Models, errors=(503,))
def list_models() -> ResponseReturnValue:
    """The versions, newest first: figures, verdict of the gate, deploys with who, when and why."""
    return {"models": versions.listed(services().registry)}


@bp.get("/models/<run_id>")
@documented(answer=schemas.VersionWithReport, errors=(404, 409, 503))
def show_model(run_id: str) -> ResponseReturnValue:
    """One version, with its evaluation report."""
    return versions.shown(services().registry, run_id)


@bp.post("/models/<run_id>/deploy")
@documented(
    body=schemas.WhyRequest,
    body_may_be_empty=True,
    answer=schemas.Deploy,
    errors=(404, 409, 503),
)
def deploy(run_id: str) -> ResponseReturnValue:
    """Make this version the live one, in one step; what is live already stays as it is."""
    why = parse(WHY, empty="{}").why
    return asdict(services().registry.deploy(run_id, by=caller(), why=why or "asked for"))


@bp.post("/model/rollback")
@documented(
    body=schemas.WhyRequest, body_may_be_empty=True, answer=schemas.Deploy, errors=(404, 409, 503)
)
def rollback() -> ResponseReturnValue:
    """Make the version live again that was live before this one."""
    why = parse(WHY, empty="{}").why
    return asdict(services().registry.rollback(by=caller(), why=why or "asked for"))


@bp.post("/transactions")
@documented(body=schemas.TransactionsRequest, answer=schemas.StoredItems, errors=(503,))
def transactions() -> ResponseReturnValue:
    """Insert or update transactions by `external_id`; `deleted: true` deletes one softly."""
    items = parse(TRANSACTIONS).transactions
    with transaction(services().engine) as session:
        return intake.store_transactions(session, items).as_json()


@bp.post("/labels")
@documented(body=schemas.LabelsRequest, answer=schemas.StoredItems, errors=(503,))
def labels() -> ResponseReturnValue:
    """Say what transactions are; a person's label is never replaced by an import's or a rule's."""
    items = parse(LABELS).labels
    with transaction(services().engine) as session:
        return intake.store_labels(session, items).as_json()


def _transaction(wanted: schemas.RawFields | schemas.StoredTransaction) -> RawTransaction:
    """What the caller tells of it, or what is stored of it."""
    if isinstance(wanted, schemas.StoredTransaction):
        with metrics_ml.phase("predict", "lookup"):
            return lookup.one(services().engine, wanted.txn_id)
    return RawTransaction(**wanted.__dict__)


def idempotency_key() -> str | None:
    """The request's Idempotency-Key, if it has one."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        message = "expected 1 to 200 printable ASCII characters without spaces"
        raise InvalidInput(
            "The Idempotency-Key is not valid", [FieldError("Idempotency-Key", message)]
        )
    return key


def asked_for(job: Job, **more: str) -> ResponseReturnValue:
    """202, and where to follow the job."""
    status_url = url_for("ml_v2.show_job", job_id=job.id)
    body = {
        "job_id": job.id,
        "kind": job.kind.value,
        "state": job.state.value,
        "status_url": status_url,
        **more,
    }
    return body, 202, {"Location": status_url}


def _job(job: Job) -> dict[str, Any]:
    done, total = job.done, job.total
    if job.state.value == "succeeded":
        percent = 100.0
    else:
        percent = round(100 * min(done, total) / total, 1) if total else 0.0
    return {
        "job_id": job.id,
        "kind": job.kind.value,
        "state": job.state.value,
        "requested_by": job.requested_by,
        "reason": job.params.get("reason"),
        "attempt": job.attempt,
        "progress": {"phase": job.phase, "done": done, "total": total, "percent": percent},
        "result": job.result,
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
    }
