"""Browser sessions: a signed cookie that no script can read, and a CSRF token.

The cookie is signed with a key made of the API token that was used to sign in, so it is valid as
long as that token is. A request that changes something by it sends the session's CSRF token in a
header.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from flask import Request, Response
from itsdangerous import BadData, URLSafeTimedSerializer

from shared.settings import Token

COOKIE = "ledger_session"
HEADER = "X-CSRF-Token"
LIFE_S = 12 * 3600


class Session(NamedTuple):
    """The scope and the CSRF token of a signed-in browser."""

    scope: str
    csrf: str


def open_session(response: Response, token: Token, *, secure: bool) -> None:
    """Set the cookie of a new session of *token*."""
    value = _signer(token).dumps(secrets.token_urlsafe(18))
    response.set_cookie(
        COOKIE, value, max_age=LIFE_S, httponly=True, samesite="Strict", secure=secure, path="/"
    )


def close_session(response: Response) -> None:
    """Delete the cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict", path="/")


def session_of(request: Request, tokens: Sequence[Token]) -> Session | None:
    """The session of a request's cookie; None without a valid one."""
    value = request.cookies.get(COOKIE, "")
    for token in tokens if value else ():
        try:
            return Session(token.scope, _signer(token).loads(value, max_age=LIFE_S))
        except BadData:
            continue
    return None


def is_own(session: Session, request: Request) -> bool:
    """Whether a request has the session's CSRF token, which only our pages know."""
    return hmac.compare_digest(session.csrf.encode(), request.headers.get(HEADER, "").encode())


def _signer(token: Token) -> URLSafeTimedSerializer:
    key = hmac.new(token.secret.encode(), b"ledger page session", sha256).digest()
    return URLSafeTimedSerializer(key, signer_kwargs={"digest_method": sha256})
