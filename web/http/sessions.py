"""Signing in to the pages: a token, once, for a cookie that no script can read.

The cookie is signed with a key made of that token, so it ends with the token, and with no other's
rotation. Who changes something by it sends the session's own word in a header, which no other
site can know.
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
    """What a signed-in browser may do, and the word it has to send."""

    scope: str
    csrf: str


def open_session(response: Response, token: Token, *, secure: bool) -> None:
    """Have the browser keep a session of this token."""
    value = _signer(token).dumps(secrets.token_urlsafe(18))
    response.set_cookie(
        COOKIE, value, max_age=LIFE_S, httponly=True, samesite="Strict", secure=secure, path="/"
    )


def close_session(response: Response) -> None:
    """Have the browser forget it."""
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict", path="/")


def session_of(request: Request, tokens: Sequence[Token]) -> Session | None:
    """The session that a request's cookie is of; None without one that still counts."""
    value = request.cookies.get(COOKIE, "")
    for token in tokens if value else ():
        try:
            return Session(token.scope, _signer(token).loads(value, max_age=LIFE_S))
        except BadData:
            continue
    return None


def is_own(session: Session, request: Request) -> bool:
    """Whether a request was made by a page of ours."""
    return hmac.compare_digest(session.csrf.encode(), request.headers.get(HEADER, "").encode())


def _signer(token: Token) -> URLSafeTimedSerializer:
    key = hmac.new(token.secret.encode(), b"ledger page session", sha256).digest()
    return URLSafeTimedSerializer(key, signer_kwargs={"digest_method": sha256})
