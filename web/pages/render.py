"""Rendering of pages, and their blueprint."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request

from web.http import sessions
from web.http.context import get_services

bp = Blueprint("pages", __name__)

# Nothing from other sites, and no inline script or style.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def render(template: str, **facts: Any) -> Response:
    """Render a template with *facts* and the rights of the browser's session."""
    settings = get_services().settings
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
