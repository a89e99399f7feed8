"""The pages: a dashboard, and one transaction looked at closely. What changes something is asked of
the API by the script, as any client does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Response,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from flask.typing import ResponseReturnValue

from shared.csv_columns import FIELDS
from shared.errors import Unavailable
from web import charts, overview, review, sessions
from web.context import services

bp = Blueprint("pages", __name__)

STATIC = Path(__file__).parent / "static"
# Nothing from elsewhere, and no script or style but those in files of ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SIGN_IN_BYTES = 4096
# This is the one body that is read of who has no token: it may come as slowly as it will, and holds
# one thread at most.
_one_form = threading.Lock()
_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a chart brings its style along


@bp.get("/")
def dashboard() -> ResponseReturnValue:
    """What is live, how good it is, what runs, and what people say to it."""
    own = services()
    return _page("dashboard.html", links=own.settings.links, **overview.gathered(own))


@bp.get("/figures")
def figures() -> ResponseReturnValue:
    """The part of the dashboard that has to be counted; the page fetches it."""
    return _page("figures.html", **overview.counted(services()))


@bp.get("/try")
def try_one() -> ResponseReturnValue:
    """A transaction typed in, and what each step makes of it."""
    return _page("try.html")


@bp.get("/csv")
def csv_file() -> ResponseReturnValue:
    """A bank's file dropped, looked at, taken, and given back."""
    return _page("csv.html", fields=FIELDS)


@bp.get("/review")
def review_queue() -> ResponseReturnValue:
    """Suggestions to confirm, by keyboard alone."""
    return _page("review.html", **review.choices(services()))


@bp.get("/charts/<name>.svg")
def chart(name: str) -> ResponseReturnValue:
    """A picture of the live version's report; the page has the same figures as a table."""
    drawn = charts.drawn(name, services().registry)
    headers = {"Content-Security-Policy": _SVG_POLICY}
    return Response(drawn, mimetype="image/svg+xml", headers=headers)


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    """Where a token is asked for."""
    return _page("sign_in.html", wrong=False)


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
    token = sessions.token_of(secret, services().settings.api_tokens)
    if token is None:
        page = _page("sign_in.html", wrong=True)
        page.status_code = 401
        return page
    answer = Response(status=303, headers={"Location": url_for("pages.dashboard")})
    # Behind what ends TLS, its header says so; who makes it up has only himself signed out.
    is_secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
    sessions.open_session(answer, token, secure=is_secure)
    return answer


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session of this browser."""
    answer = Response(status=204)
    sessions.close_session(answer)
    return answer


@bp.get("/static/<path:name>")
def file(name: str) -> ResponseReturnValue:
    """A style or a script."""
    answer = send_from_directory(STATIC, name)
    answer.headers["Cache-Control"] = "no-cache"
    return answer


def _page(template: str, **facts: Any) -> Response:
    settings = services().settings
    session = sessions.session_of(request, settings.api_tokens)
    may_change = not settings.api_auth or (session is not None and session.scope == "admin")
    body = render_template(
        template,
        csrf=session.csrf if session else "",
        signed_in=session is not None,
        may_change=may_change,
        here=request.endpoint,
        **facts,
    )
    return Response(
        body, headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
    )
