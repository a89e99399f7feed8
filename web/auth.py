"""Who may call what: every route is closed unless it is named here."""

from __future__ import annotations

import hmac
from hashlib import sha256

from flask import Flask, request

from shared.settings import Settings
from web.problems import NotAllowed, NotAuthenticated

OPEN_ENDPOINTS = frozenset(
    {"ops.healthz", "ops.readyz", "ops.metrics", "docs.spec", "docs.page", "docs.file"}
)
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Requests that change nothing, though they are posted: a prediction has a body.
PREDICT_POSTS = frozenset(
    {
        "ml_v2.predict",
        "ml_v2.predict_batch",
        "ml_v2.predict_explain",
        "rules.preview_rules",
        "suggest.suggest",
        "suggest.give_feedback",
    }
)


def guard(app: Flask, settings: Settings) -> None:
    """Let a request in only if its route is open, or its token's scope includes it.

    Tokens are compared by their digests, all of them each time, so that the time taken tells
    nothing about which one was nearly right.
    """
    digests = [
        (sha256(token.secret.encode()).digest(), token.scope) for token in settings.api_tokens
    ]

    @app.before_request
    def check() -> None:
        if request.endpoint in OPEN_ENDPOINTS or not settings.api_auth:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        offered = sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        scopes = {scope for digest, scope in digests if hmac.compare_digest(digest, offered)}
        if scheme.lower() != "bearer" or not scopes:
            raise NotAuthenticated("Send a token: Authorization: Bearer …")
        if scope_needed(request.endpoint, request.method) == "admin" and "admin" not in scopes:
            raise NotAllowed("This needs a token of scope admin")
        request.environ["ledger.scope"] = "admin" if "admin" in scopes else "predict"


def scope_needed(endpoint: str | None, method: str) -> str:
    """`predict` to read and to predict, `admin` for everything that changes something."""
    if method in CHANGING and endpoint not in PREDICT_POSTS:
        return "admin"
    return "predict"


def caller() -> str:
    """Who asks, as far as the history should know."""
    return f"api ({request.environ.get('ledger.scope', 'no auth')})"
