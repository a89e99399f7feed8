"""A page made of a template, for whoever is signed in; and the blueprint of all pages."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request

from web.http import sessions
from web.http.context import services

bp = Blueprint("pages", __name__)

# Nothing from elsewhere, and no script or style but those in files of ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def render(template: str, **facts: Any) -> Response:
    """Fill a template with *facts*, and with what the browser's session may do."""
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
