"""/ml/v2/models: the model versions, and which of them is live."""

from __future__ import annotations

from dataclasses import asdict

from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter

from web.http import schemas
from web.http.auth import caller
from web.http.context import ml_v2 as bp
from web.http.context import services
from web.http.openapi import documented
from web.http.parsing import parse
from web.models import versions

WHY = TypeAdapter(schemas.ReasonRequest)


@bp.get("/model/status")
@documented(answer=schemas.ModelStatus)
def model_status() -> ResponseReturnValue:
    """The version that this process answers with."""
    status = services().live_model.status()
    meta = {key: value for key, value in status.meta.items() if key != "report"}
    if status.available and status.error:
        meta["problem"] = status.error
    return {"available": status.available, "meta": meta}


@bp.get("/models")
@documented(answer=schemas.Models, errors=(503,))
def list_models() -> ResponseReturnValue:
    """The versions, newest first: figures, verdict of the gate, deploys with who, when and why."""
    return {"models": versions.list_versions(services().registry)}


@bp.get("/models/<run_id>")
@documented(answer=schemas.VersionWithReport, errors=(404, 409, 503))
def show_model(run_id: str) -> ResponseReturnValue:
    """One version, with its evaluation report."""
    return versions.version_detail(services().registry, run_id)


@bp.post("/models/<run_id>/deploy")
@documented(
    body=schemas.ReasonRequest,
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
    body=schemas.ReasonRequest,
    body_may_be_empty=True,
    answer=schemas.Deploy,
    errors=(404, 409, 503),
)
def rollback() -> ResponseReturnValue:
    """Make the version live again that was live before this one."""
    why = parse(WHY, empty="{}").why
    return asdict(services().registry.rollback(by=caller(), why=why or "asked for"))
