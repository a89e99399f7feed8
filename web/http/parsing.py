"""Reads a request: its body or its query, checked, or what was wrong in the words of the API."""

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

T = TypeVar("T")
Q = TypeVar("Q", bound=BaseModel)
ERRORS_MAX = 100  # told of one body or item; who sends more has to begin anew anyway
LARGE_BYTES = 256 * 1024
# Without a comma, which stands between two headers.
HOST = re.compile(r"[A-Za-z0-9._~:\[\]-]{1,255}")
_one_large = threading.Lock()  # at a time: 4 MiB of nothing much are up to 390 MB of objects


def parse(adapter: TypeAdapter[T], *, empty: str = "") -> T:
    """The request's body, checked.

    Args:
        empty: what an empty body stands for, as JSON; without it a body is needed.

    Raises:
        WrongContentType, InvalidInput, TooLarge: the body is not as it should be.
    """
    body = whole_body(shows_its_end=not empty)
    if not body and empty:
        body = empty.encode()
    elif request.mimetype != "application/json":
        raise WrongContentType("Send JSON, with Content-Type: application/json")
    with _one_large if len(body) > LARGE_BYTES else nullcontext():
        try:
            return adapter.validate_json(body)
        except ValidationError as error:
            wrong = invalid(error)
    raise wrong  # outside, or it would keep the other error with all that the body held


def whole_body(*, shows_its_end: bool = False) -> bytes:
    """The request's body; TooLarge, InvalidInput or LengthNeeded if it is not all of it, or could
    be a part.

    Args:
        shows_its_end: as JSON does, of which no part is valid, but for the empty one.
    """
    if "Transfer-Encoding" in request.headers and not shows_its_end:
        # The server does not tell chunks of which the last one never came from all of them.
        raise LengthNeeded("This needs a Content-Length: of chunks nobody can tell if all came")
    body = request.get_data(cache=False)
    if request.content_length not in (None, len(body)):
        # Its sender has gone. What is left may be valid, and mean something else.
        raise InvalidInput("The body ended before its length was reached")
    is_large = len(body) > LARGE_BYTES
    if is_large and request.content_length is None and len(body) == request.max_content_length:
        # A body sent in chunks is cut there without a word; what is left may even be valid.
        raise TooLarge("The body is larger than the server takes")
    return body


def parse_query(model: type[Q]) -> Q:
    """The parameters after the question mark, checked.

    Raises:
        InvalidInput: one is not as it should be.
    """
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidInput:
    """What pydantic found, in the words of the API; the values themselves are not repeated."""
    if (count := error.error_count()) > ERRORS_MAX:
        message = f"{count} errors, more than the {ERRORS_MAX} that are told"
        return InvalidInput("The input is not as expected", [FieldError("(body)", message)])
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        FieldError(_path(item["loc"]), item["msg"].removeprefix("Value error, ")) for item in found
    ]
    if any(item["type"] == "json_invalid" for item in found):
        return InvalidInput(f"The body is not JSON: {errors[0].message}", errors)
    if any(item["type"] == "too_long" and _path(item["loc"]).isidentifier() for item in found):
        return TooLarge(f"At most {ITEMS_MAX} items in a request", errors)
    return InvalidInput("The input is not as expected; see errors", errors)


def _path(location: tuple[int | str, ...]) -> str:
    """`rows[3].amount`; the form of a union is no part of what the caller sent."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in ("raw", "stored"):
            text += f".{step}" if text else step
    return text or "(body)"


def as_json(value: Any) -> bytes:
    """A value of a body that was read as JSON, as JSON again, to be checked by itself."""
    return to_json(value)
