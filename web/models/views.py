"""/ml/v2/models: the versions of the registry, and which of them is live."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from shared.registry.deployments import Deployment
from shared.registry.store import ModelVersion, Registry
from web.http import schemas
from web.http.auth import caller
from web.http.context import get_services
from web.http.context import ml_v2 as bp
from web.http.openapi import documented
from web.http.parsing import parse

_documented_deploy = partial(
    documented,
    body=schemas.ReasonRequest,
    body_may_be_empty=True,
    answer=schemas.Deploy,
    errors=(404, 409, 503),
)


@bp.get("/model/status")
@documented(answer=schemas.ModelStatus)
def model_status() -> ResponseReturnValue:
    """The version that this process answers with."""
    status = get_services().live_model.status()
    meta = {key: value for key, value in status.meta.items() if key != "report"}
    if status.available and status.error:
        meta["problem"] = status.error
    return jsonify(schemas.ModelStatus(available=status.available, meta=meta))


@bp.get("/models")
@documented(answer=schemas.Models, errors=(503,))
def list_models() -> ResponseReturnValue:
    """The versions, newest first: figures, verdict of the gate, deploys with who, when and why."""
    return jsonify(schemas.Models(models=list_versions(get_services().registry)))


@bp.get("/models/<run_id>")
@documented(answer=schemas.VersionWithReport, errors=(404, 409, 503))
def show_model(run_id: str) -> ResponseReturnValue:
    """One version, with its evaluation report."""
    return jsonify(version_detail(get_services().registry, run_id))


@bp.post("/models/<run_id>/deploy")
@_documented_deploy()
def deploy(run_id: str) -> ResponseReturnValue:
    """Make this version the live one, in one step; a version that is live stays as it is."""
    why = parse(schemas.ReasonRequest, may_be_empty=True).why or "asked for"
    deployment = get_services().registry.deploy(run_id, by=caller(), why=why)
    return jsonify(schemas.Deploy.model_validate(deployment))


@bp.post("/model/rollback")
@_documented_deploy()
def rollback() -> ResponseReturnValue:
    """Make the version live again that was live before this one."""
    why = parse(schemas.ReasonRequest, may_be_empty=True).why or "asked for"
    deployment = get_services().registry.rollback(by=caller(), why=why)
    return jsonify(schemas.Deploy.model_validate(deployment))


def list_versions(registry: Registry) -> list[schemas.Version]:
    """All versions, newest first, each with its deploys, newest first."""
    live = registry.current()
    deploys = _load_deploys(registry)
    return [
        schemas.Version(**_fields(version, live, deploys[version.run_id]))
        for version in registry.versions()
    ]


def version_detail(registry: Registry, run_id: str) -> schemas.VersionWithReport:
    """One version with its evaluation report; NotFound if there is none of this id."""
    version = registry.version(run_id)
    return schemas.VersionWithReport(
        **_fields(version, registry.current(), _load_deploys(registry)[run_id]),
        report=version.manifest.evaluation,
        meta={name: value for name, value in version.meta.items() if name != "report"},
    )


def _fields(
    version: ModelVersion, live: Deployment | None, deploys: list[schemas.Deploy]
) -> dict[str, Any]:
    return {
        "run_id": version.run_id,
        "created_at": version.created_at,
        "live": live is not None and live.run_id == version.run_id,
        "problem": version.problem,
        "size_bytes": version.manifest.size,
        **version.manifest.summary,
        "deploys": deploys,
    }


def _load_deploys(registry: Registry) -> defaultdict[str, list[schemas.Deploy]]:
    deploys: defaultdict[str, list[schemas.Deploy]] = defaultdict(list)
    for deployment in registry.history():
        deploys[deployment.run_id].append(schemas.Deploy.model_validate(deployment))
    return deploys
