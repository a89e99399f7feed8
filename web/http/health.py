"""What monitoring asks: alive, ready, metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from flask import Blueprint, Response, current_app
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST
from redis import Redis

from shared.db.engine import ping, transaction
from shared.errors import LedgerError
from shared.services import Services
from web.http import schemas
from web.http.context import services
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
    held = services()
    checks: dict[str, Callable[[], str | None]] = {
        "postgres": lambda: _postgres(held),
        "redis": lambda: _redis(held),
        "registry": lambda: _registry(held),
        "model": lambda: _model(held),
    }
    pool = ThreadPoolExecutor(len(checks))
    try:
        running = {name: pool.submit(_timed, check) for name, check in checks.items()}
        wait(running.values(), CHECK_TIMEOUT_S)
        silent = {"ok": False, "detail": "no answer", "seconds": CHECK_TIMEOUT_S}
        found = {name: it.result() if it.done() else silent for name, it in running.items()}
    finally:
        pool.shutdown(wait=False)
    status = "ok" if all(check["ok"] for check in found.values()) else "degraded"
    return {"status": status, "checks": found}


@bp.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Prometheus text, summed over all web processes."""
    return Response(current_app.extensions["ledger_metrics"](), content_type=CONTENT_TYPE_LATEST)


def _timed(check: Callable[[], str | None]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        detail = check()
    except LedgerError as error:
        detail = str(error)
    except Exception as error:
        detail = type(error).__name__
    seconds = round(time.perf_counter() - started, 4)
    return {"ok": detail is None, "detail": detail, "seconds": seconds}


def _postgres(held: Services) -> None:
    with transaction(held.engine) as session:
        ping(session.connection())


def _redis(held: Services) -> None:
    with Redis.from_url(
        held.settings.redis_url, socket_timeout=1, socket_connect_timeout=1
    ) as client:
        client.ping()


def _registry(held: Services) -> None:
    held.registry.current()


def _model(held: Services) -> str | None:
    status = held.live_model.status()
    return status.error if status.available else "no model is deployed"
