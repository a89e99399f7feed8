"""Floors: an empty Flask view and a bare WSGI application, on the same server as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

flask = Flask(__name__)


@flask.post("/ml/v2/predict")
def empty_view() -> dict[str, bool]:
    """Respond without any work."""
    return {"available": False}


def wsgi(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Respond without Flask."""
    environ["wsgi.input"].read()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]
