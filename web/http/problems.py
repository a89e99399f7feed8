"""Errors as application/problem+json (RFC 9457): the one place that knows status codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from shared.errors import (
    Conflict,
    FieldError,
    InvalidInput,
    LedgerError,
    NotEnoughLabels,
    NotFound,
    Unavailable,
)
from shared.log import get_logger
from web.http.schemas import FieldProblem, ItemProblem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
log = get_logger()


class TooLarge(InvalidInput):
    code = "too_large"
    title = "The request is too large"


class WrongContentType(InvalidInput):
    code = "wrong_content_type"
    title = "The body is not of the expected type"


class LengthNeeded(InvalidInput):
    code = "length_needed"
    title = "The length of the body is needed"


class NotAuthenticated(LedgerError):
    code = "not_authenticated"
    title = "A valid token is needed"


class NotAllowed(LedgerError):
    code = "not_allowed"
    title = "The token's scope does not include this"


STATUS: dict[type[LedgerError], HTTPStatus] = {
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    LengthNeeded: HTTPStatus.LENGTH_REQUIRED,
    WrongContentType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotEnoughLabels: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    LedgerError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def problem_response(error: LedgerError) -> dict[str, Any]:
    """The problem document of an error that was raised on purpose."""
    # The status is that of the nearest base class.
    status = next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
    body: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": status.value,
        "detail": str(error),
        "code": error.code,
        **error.facts,
    }
    if isinstance(error, InvalidInput) and error.errors:
        body["errors"] = field_problems(error.errors)
    return body


def item_problem(error: LedgerError) -> ItemProblem:
    """The error of one of many items."""
    errors = error.errors if isinstance(error, InvalidInput) else ()
    return ItemProblem(code=error.code, detail=str(error), errors=field_problems(errors))


def field_problems(errors: Sequence[FieldError]) -> list[FieldProblem]:
    """Field errors as an answer."""
    return [FieldProblem.model_validate(error) for error in errors]


def register(app: Flask) -> None:
    """Answer every error of *app* as a problem document."""

    @app.errorhandler(LedgerError)
    def handle_ledger_error(error: LedgerError) -> Response:
        headers = {}
        if isinstance(error, Unavailable):
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if isinstance(error, NotAuthenticated):
            headers["WWW-Authenticate"] = "Bearer"
        return _respond(problem_response(error), headers)

    @app.errorhandler(HTTPException)
    def handle_http_error(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or 500)
        if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return handle_ledger_error(TooLarge("The body is larger than the server takes"))
        body = {
            "type": f"/problems/{status.name.lower()}",
            "title": status.phrase,
            "status": status.value,
            "detail": status.description or status.phrase,
            "code": status.name.lower(),
        }
        return _respond(body, {k: v for k, v in error.get_headers() if k.lower() == "allow"})

    @app.errorhandler(Exception)
    def handle_bug(error: Exception) -> Response:
        log.error("request.broke", exc_info=error)
        return handle_ledger_error(
            LedgerError("Something went wrong; the log has the request's id")
        )


def _respond(body: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    response = jsonify(body)
    response.status_code = body["status"]
    response.mimetype = MEDIA_TYPE
    response.headers.update(headers)
    return response
