"""The floors: an empty Flask view, and a bare WSGI application, on the server that we use.

python -m benchmarks.serving.floors {flask|wsgi} PORT THREADS
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces

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


if __name__ == "__main__":
    name, port, threads = sys.argv[1:]
    Granian(
        f"benchmarks.serving.floors:{name}",
        port=int(port),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=1,
        blocking_threads=int(threads),
        websockets=False,
        log_enabled=False,
    ).serve()
