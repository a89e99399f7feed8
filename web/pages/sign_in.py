"""Sign-in to the pages by a token, and sign-out."""

from __future__ import annotations

import threading

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import Unavailable
from web.http import sessions
from web.http.auth import Tokens
from web.http.context import get_services
from web.pages.render import bp, render

SIGN_IN_BYTES = 4096
# The only body that is read without a token: however slowly it comes, it holds one thread at most.
_one_form = threading.Lock()


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    """The sign-in form."""
    return render("sign_in.html", wrong=False)


@bp.post("/sign-in")
def sign_in_with() -> ResponseReturnValue:
    """Start a session for a token, which is read from the form only, never from the URL."""
    request.max_content_length = SIGN_IN_BYTES
    if not _one_form.acquire(blocking=False):
        raise Unavailable("Somebody else is just signing in", dependency="web")
    try:
        secret = request.form.get("token", "")
    finally:
        _one_form.release()
    tokens = Tokens(get_services().settings.api_tokens).matching(secret)
    if not tokens:
        page = render("sign_in.html", wrong=True)
        page.status_code = 401
        return page
    answer = Response(status=303, headers={"Location": url_for("pages.dashboard")})
    # A TLS proxy sets the header; a client that forges it only loses its own cookie.
    is_secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
    sessions.open_session(answer, tokens[0], secure=is_secure)
    return answer


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session of this browser."""
    answer = Response(status=204)
    sessions.close_session(answer)
    return answer
