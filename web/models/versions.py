"""Model versions of the registry, as the API answers them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from shared.registry.deployments import Deployment
from shared.registry.store import ModelVersion, Registry
from web.http.schemas import Deploy, Version, VersionWithReport


def list_versions(registry: Registry) -> list[Version]:
    """All versions, newest first, each with its deploys, newest first."""
    live = registry.current()
    deploys = _load_deploys(registry)
    return [
        Version(**_fields(version, live, deploys[version.run_id]))
        for version in registry.versions()
    ]


def version_detail(registry: Registry, run_id: str) -> VersionWithReport:
    """One version with its evaluation report.

    Raises:
        NotFound: there is none of this id.
    """
    version = registry.version(run_id)
    return VersionWithReport(
        **_fields(version, registry.current(), _load_deploys(registry)[run_id]),
        report=version.manifest.evaluation,
        meta={name: value for name, value in version.meta.items() if name != "report"},
    )


def _fields(
    version: ModelVersion, live: Deployment | None, deploys: list[Deploy]
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


def _load_deploys(registry: Registry) -> defaultdict[str, list[Deploy]]:
    deploys: defaultdict[str, list[Deploy]] = defaultdict(list)
    for deployment in registry.history():
        deploys[deployment.run_id].append(Deploy.model_validate(deployment))
    return deploys
