"""Structured logging: one JSON line per event, with the ids of its request and job.

Events carry ids, counts and codes, never data of a transaction. Records of other libraries pass
through the same formatter. Of an exception only type and frames are written: its message can quote
the data.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
]


def configure(level: str = "info") -> None:
    """Send every record of this process to standard error as JSON."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _exception_without_message,
            _json,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[*_SHARED, _exception_without_message, _json],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _LineWriter(handler),
        cache_logger_on_first_use=True,
    )


class _LineWriter:
    """Logger that writes to a handler's stream; a `logging` record costs 2.7 times as much.

    It uses the handler's lock: no line is torn, and `logging` frees it in a forked child, which
    structlog's own loggers do not.
    """

    def __init__(self, handler: logging.StreamHandler[TextIO]) -> None:
        self._handler = handler

    def info(self, line: str) -> None:
        """Write one line, of any level."""
        self._handler.acquire()
        try:
            self._handler.stream.write(line + "\n")
            self._handler.stream.flush()
        finally:
            self._handler.release()

    debug = warning = error = critical = exception = info


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return the logger of this service: `log.info("train.finished", run_id=...)`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


def _json(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """Render an event; a value that JSON cannot hold becomes text."""
    try:
        return to_json(event, fallback=str).decode()
    except PydanticSerializationError:  # a lone surrogate, which UTF-8 cannot encode
        return json.dumps(event, default=str)


def _exception_without_message(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace exc_info by the chain of types and the frames."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        chain: list[str] = []
        seen: BaseException | None = error
        while seen is not None and len(chain) < 5:
            chain.append(f"{type(seen).__module__}.{type(seen).__qualname__}")
            seen = seen.__cause__ or seen.__context__
        event["exception"] = chain
        event["frames"] = [
            f"{frame.filename}:{frame.lineno}:{frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-12:]
        ]
    return event
