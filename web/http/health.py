"""Liveness, readiness and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from flask import Blueprint, Response, current_app
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST
from redis import Redis
from sqlalchemy import text

from shared.db.engine import transaction
from shared.errors import LedgerError
from shared.services import Services
from web.http import schemas
from web.http.context import get_services
from web.http.openapi import documented

bp = Blueprint("ops", __name__)
CHECK_TIMEOUT_S = 2.0


@bp.get("/healthz")
@documented(answer=schemas.Health)
def healthz() -> ResponseReturnValue:
    """This process is alive."""
    return {"status": "ok"}


@bp.get("/readyz")
@documented(answer=schemas.Readiness)
def readyz() -> ResponseReturnValue:
    """Each dependency by name.

    Always 200: with a dependency down the answer is `degraded`, and predictions from raw fields go
    on, so no load balancer should take the process out.
    """
    services = get_services()
    pool = ThreadPoolExecutor(len(_CHECKS))
    try:
        running = {name: pool.submit(_timed, run, services) for name, run in _CHECKS.items()}
        wait(running.values(), CHECK_TIMEOUT_S)
        silent = {"ok": False, "detail": "no answer", "seconds": CHECK_TIMEOUT_S}
        checks = {name: run.result() if run.done() else silent for name, run in running.items()}
    finally:
        pool.shutdown(wait=False)
    status = "ok" if all(check["ok"] for check in checks.values()) else "degraded"
    return {"status": status, "checks": checks}


@bp.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Prometheus text, summed over all web processes."""
    return Response(current_app.extensions["ledger_metrics"](), content_type=CONTENT_TYPE_LATEST)


def _timed(check: Callable[[Services], str | None], services: Services) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        detail = check(services)
    except LedgerError as error:
        detail = str(error)
    except Exception as error:
        detail = type(error).__name__
    seconds = round(time.perf_counter() - started, 4)
    return {"ok": detail is None, "detail": detail, "seconds": seconds}


def _check_postgres(services: Services) -> None:
    with transaction(services.engine) as session:
        session.execute(text("SELECT 1"))


def _check_redis(services: Services) -> None:
    url = services.settings.redis_url
    with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        client.ping()


def _check_registry(services: Services) -> None:
    services.registry.current()


def _check_model(services: Services) -> str | None:
    status = services.live_model.status()
    return status.error if status.available else "no model is deployed"


_CHECKS: dict[str, Callable[[Services], str | None]] = {
    "postgres": _check_postgres,
    "redis": _check_redis,
    "registry": _check_registry,
    "model": _check_model,
}
