"""Signing in to the pages by a token, and out again."""

from __future__ import annotations

import threading

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import Unavailable
from web.http import sessions
from web.http.auth import Tokens
from web.http.context import services
from web.pages.render import bp, render

SIGN_IN_BYTES = 4096
# This is the one body that is read of who has no token: it may come as slowly as it will, and holds
# one thread at most.
_one_form = threading.Lock()


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    """Where a token is asked for."""
    return render("sign_in.html", wrong=False)


@bp.post("/sign-in")
def sign_in_with() -> ResponseReturnValue:
    """Give a session for a token; it is taken from the form alone, never from the address."""
    request.max_content_length = SIGN_IN_BYTES
    if not _one_form.acquire(blocking=False):
        raise Unavailable("Somebody else is just signing in", dependency="web")
    try:
        secret = request.form.get("token", "")
    finally:
        _one_form.release()
    found = Tokens(services().settings.api_tokens).matching(secret)
    if not found:
        page = render("sign_in.html", wrong=True)
        page.status_code = 401
        return page
    answer = Response(status=303, headers={"Location": url_for("pages.dashboard")})
    # Behind what ends TLS, its header says so; who makes it up signs out nobody but themselves.
    is_secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
    sessions.open_session(answer, found[0], secure=is_secure)
    return answer


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session of this browser."""
    answer = Response(status=204)
    sessions.close_session(answer)
    return answer
