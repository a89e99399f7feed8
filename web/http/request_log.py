"""The id, the log line and the metric of each request, for Flask and for the fast path."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from shared.log import get_logger
from shared.monitoring import metrics

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = get_logger()


def request_id(environ: Mapping[str, Any]) -> str:
    """The client's X-Request-ID if it is safe to log, else a new id."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def record(route: str, method: str, status: int, started: float, **more: str) -> None:
    """Count a response and log it; the request arrived at *started*, by `time.perf_counter`.

    The route is the URL rule, never the path, which may hold an id.
    """
    metrics.count_request(route, status)
    ms = round(1000 * (time.perf_counter() - started), 2)
    log.info("request", **more, method=method, route=route, status=status, ms=ms)
