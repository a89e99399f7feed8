"""The floors: an empty Flask view, and a bare WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

flask = Flask(__name__)


@flask.post("/ml/v2/predict")
def nothing() -> dict[str, bool]:
    """An answer, and no more."""
    return {"available": False}


def wsgi(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """The same without Flask."""
    environ["wsgi.input"].read()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]
