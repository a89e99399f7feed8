"""Parsing of requests: the body or the query, checked, or an error that names the fields."""

from __future__ import annotations

import re
import threading
from contextlib import nullcontext
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from shared.errors import FieldError, InvalidInput
from web.http.problems import LengthNeeded, TooLarge, WrongContentType
from web.http.schemas import ITEMS_MAX

M = TypeVar("M", bound=BaseModel)
ERRORS_MAX = 100  # that are listed for one body or item
LARGE_BYTES = 256 * 1024
# Without a comma, which would separate two headers.
HOST = re.compile(r"[A-Za-z0-9._~:\[\]-]{1,255}")
_one_large = threading.Lock()  # 4 MiB of JSON can become 390 MB of objects: one at a time


def parse(model: type[M] | TypeAdapter[M], *, may_be_empty: bool = False) -> M:
    """The request's JSON body as *model*.

    Args:
        may_be_empty: an empty body stands for `{}`; otherwise a body is needed.

    Raises:
        WrongContentType, InvalidInput, TooLarge: the body is not as it should be.
    """
    body = read_body(is_self_delimiting=not may_be_empty)
    if may_be_empty and not body:
        body = b"{}"
    elif request.mimetype != "application/json":
        raise WrongContentType("Send JSON, with Content-Type: application/json")
    validate = model.validate_json if isinstance(model, TypeAdapter) else model.model_validate_json
    with _one_large if len(body) > LARGE_BYTES else nullcontext():
        try:
            return validate(body)
        except ValidationError as error:
            wrong = invalid(error)
    raise wrong  # outside, or it would keep the other error with all that the body held


def read_body(*, is_self_delimiting: bool = False) -> bytes:
    """The request's whole body.

    Args:
        is_self_delimiting: no part of a valid body is valid itself, as with JSON that is not empty.

    Raises:
        TooLarge, InvalidInput, LengthNeeded: it is cut off, or could be.
    """
    if "Transfer-Encoding" in request.headers and not is_self_delimiting:
        # The server does not report that the last chunk never came.
        raise LengthNeeded("This needs a Content-Length: of chunks nobody can tell if all came")
    body = request.get_data(cache=False)
    if request.content_length not in (None, len(body)):
        # The client has gone. What is left may be valid, and mean something else.
        raise InvalidInput("The body ended before its length was reached")
    is_large = len(body) > LARGE_BYTES
    if is_large and request.content_length is None and len(body) == request.max_content_length:
        # A body in chunks is cut off there silently; what is left may even be valid.
        raise TooLarge("The body is larger than the server takes")
    return body


def parse_query(model: type[M]) -> M:
    """The query parameters as *model*; InvalidInput if one is not as it should be."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid(error) from None


def parse_item(adapter: TypeAdapter[Any], item: Any) -> Any:
    """One item of a body, checked by the rules of JSON: a date is text there.

    Raises a ValidationError, for `invalid`, if it is not as it should be.
    """
    return adapter.validate_json(to_json(item))


def invalid(error: ValidationError) -> InvalidInput:
    """Pydantic's errors by the field names of the API; the values themselves are not repeated."""
    if (count := error.error_count()) > ERRORS_MAX:
        message = f"{count} errors, more than the {ERRORS_MAX} that are told"
        return InvalidInput("The input is not as expected", [FieldError("(body)", message)])
    details = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        FieldError(_path(item["loc"]), item["msg"].removeprefix("Value error, "))
        for item in details
    ]
    if any(item["type"] == "json_invalid" for item in details):
        return InvalidInput(f"The body is not JSON: {errors[0].message}", errors)
    if any(item["type"] == "too_long" and _path(item["loc"]).isidentifier() for item in details):
        return TooLarge(f"At most {ITEMS_MAX} items in a request", errors)
    return InvalidInput("The input is not as expected; see errors", errors)


def _path(location: tuple[int | str, ...]) -> str:
    """`rows[3].amount`; the tag of a union is no part of what the client sent."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in ("raw", "stored"):
            text += f".{step}" if text else step
    return text or "(body)"
