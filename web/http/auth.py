"""Authorisation: every route needs a token unless it is named here."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from flask import Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue

from shared.settings import LOOPBACK_HOSTS, Settings, Token
from web.http import sessions
from web.http.problems import NotAllowed, NotAuthenticated

OPEN_ENDPOINTS = frozenset(
    {
        "ops.healthz", "ops.readyz", "ops.metrics", "docs.spec", "docs.page", "docs.file",
        "pages.sign_in", "pages.sign_in_with", "pages.file",
    }
)  # fmt: skip
PAGES = frozenset({"pages.dashboard", "pages.try_one", "pages.csv_file", "pages.review_queue"})
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# POST requests that change nothing, or only record feedback: the scope predict is enough.
PREDICT_POSTS = frozenset(
    {
        "ml_v2.predict", "ml_v2.predict_batch", "ml_v2.predict_explain", "imports.look",
        "review.answer_many", "review.answer_merchant", "rules.preview_rules", "suggest.suggest",
        "suggest.explain_suggestion", "suggest.give_feedback",
    }
)  # fmt: skip


class Tokens:
    """The accepted tokens, compared by their digests in constant time.

    Each is compared every time, so that the time taken reveals nothing about any of them.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._digests = [(sha256(token.secret.encode()).digest(), token) for token in tokens]

    def matching(self, secret: str) -> list[Token]:
        """The tokens with this secret; usually one or none."""
        digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()
        return [token for own, token in self._digests if hmac.compare_digest(own, digest)]

    def scopes(self, header: str) -> set[str]:
        """The scopes of the token in an Authorization header; empty if there is no such token."""
        scheme, _, secret = header.partition(" ")
        scopes = {token.scope for token in self.matching(secret.strip())}
        return scopes if scheme.lower() == "bearer" else set()


def guard(app: Flask, settings: Settings) -> None:
    """Refuse requests to a closed route without a token or session whose scope includes it."""
    tokens = Tokens(settings.api_tokens)

    @app.before_request
    def check() -> ResponseReturnValue | None:
        _refuse_other_sites(settings)
        if request.endpoint in OPEN_ENDPOINTS or not settings.api_auth:
            return None
        scopes = _scopes_of_request(tokens, settings)
        if not scopes:
            if request.endpoint in PAGES and "HTTP_AUTHORIZATION" not in request.environ:
                return redirect(url_for("pages.sign_in"))
            raise NotAuthenticated("Send a token: Authorization: Bearer …")
        scope = "admin" if "admin" in scopes else "predict"
        if scope == "predict" and scope_needed(request.endpoint, request.method) == "admin":
            raise NotAllowed("This needs a token of scope admin")
        request.environ["ledger.scope"] = scope
        return None


def _refuse_other_sites(settings: Settings) -> None:
    """Raise NotAllowed if another site's page sent the request."""
    if request.method in CHANGING and _is_cross_site(settings):
        raise NotAllowed("Another site's page may change nothing here")
    if not settings.api_auth and not is_local(request.host):
        # DNS rebinding: another site's name that resolves to this machine.
        raise NotAllowed("Without tokens the API answers to localhost only")


def _scopes_of_request(tokens: Tokens, settings: Settings) -> set[str]:
    """The scopes of the request's token or else of its session; empty without a valid one.

    Raises NotAllowed for a change by a session without its CSRF token.
    """
    if (header := request.environ.get("HTTP_AUTHORIZATION")) is not None:
        return tokens.scopes(header)
    session = sessions.session_of(request, settings.api_tokens)
    if session is None:
        return set()
    if request.method in CHANGING and not sessions.is_own(session, request):
        raise NotAllowed(f"A page sends {sessions.HEADER} with what it changes")
    return {session.scope}


def _is_cross_site(settings: Settings) -> bool:
    if request.environ.get("HTTP_SEC_FETCH_SITE") == "cross-site":
        return True
    # Only without tokens: with them, a proxy may have changed the Host header.
    origin = request.environ.get("HTTP_ORIGIN", "")
    return not settings.api_auth and bool(origin) and urlsplit(origin).netloc != request.host


def is_local(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine."""
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK_HOSTS
    except ValueError:  # unbalanced brackets
        return False


def scope_needed(endpoint: str | None, method: str) -> str:
    """`admin` for what changes something, else `predict`."""
    return "admin" if method in CHANGING and endpoint not in PREDICT_POSTS else "predict"


def caller() -> str:
    """The scope of the request's token, as the name of the caller in histories."""
    return f"api ({request.environ.get('ledger.scope', 'no auth')})"
