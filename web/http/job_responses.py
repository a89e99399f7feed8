"""Responses to requests for a job, and the key that makes such a request safe to repeat."""

from __future__ import annotations

import re

from flask import request, url_for
from flask.typing import ResponseReturnValue

from shared.db.tables import Job
from shared.errors import FieldError, InvalidInput

_KEY = re.compile(r"[!-~]{1,200}")


def idempotency_key() -> str | None:
    """The request's Idempotency-Key, if it has one."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        error = FieldError(
            "Idempotency-Key", "expected 1 to 200 printable ASCII characters without spaces"
        )
        raise InvalidInput("The Idempotency-Key is not valid", [error])
    return key


def accepted_response(job: Job, **more: str) -> ResponseReturnValue:
    """202, and the address of the job."""
    status_url = url_for("ml_v2.show_job", job_id=job.id)
    body = {"job_id": job.id, "kind": job.kind, "state": job.state, "status_url": status_url}
    return body | more, 202, {"Location": status_url}
