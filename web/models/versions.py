"""The registry as the API shows it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from shared.registry.deployments import Deployment
from shared.registry.store import ModelVersion, Registry


def list_versions(registry: Registry) -> list[dict[str, Any]]:
    """All versions, newest first, each with its deploys, newest first."""
    live = registry.current()
    deploys = _deploys(registry)
    return [_version(version, live, deploys[version.run_id]) for version in registry.versions()]


def version_detail(registry: Registry, run_id: str) -> dict[str, Any]:
    """One version with its evaluation report.

    Raises:
        NotFound: there is none of this id.
    """
    version = registry.version(run_id)
    found = _version(version, registry.current(), _deploys(registry)[run_id])
    return {**found, "report": version.manifest.evaluation, "meta": _without_report(version)}


def _version(
    version: ModelVersion, live: Deployment | None, deploys: list[dict[str, Any]]
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


def _without_report(version: ModelVersion) -> dict[str, Any]:
    return {key: value for key, value in version.meta.items() if key != "report"}


def _deploys(registry: Registry) -> defaultdict[str, list[dict[str, Any]]]:
    deploys: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for pointer in registry.history():
        deploys[pointer.run_id].append(asdict(pointer))
    return deploys
