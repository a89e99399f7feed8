"""Every door is closed: all routes, with all methods, by everybody who may not open it."""

from __future__ import annotations

import base64
import io

import pytest
from flask.testing import FlaskClient

from tests.attacks.doors import DECLARED, doors, view_routes
from tests.support.api import ADMIN, PREDICT, bearer
from web.http import sessions

READS = ("GET", "HEAD", "OPTIONS")
NOBODY = {
    "nothing": {},
    "an empty header": {"Authorization": ""},
    "no secret": {"Authorization": "Bearer "},
    "another scheme": {"Authorization": f"Basic {base64.b64encode(ADMIN.encode()).decode()}"},
    "no scheme": {"Authorization": ADMIN},
    "most of a secret": bearer(ADMIN[:-1]),
    "more than a secret": bearer(ADMIN + "0"),
    "both secrets": bearer(f"{ADMIN},{PREDICT}"),
    "a scope for a secret": bearer("admin"),
    "a scope before the secret": bearer(f"admin:{ADMIN}"),
    "the secret in other letters": bearer(ADMIN.upper()),
    "no text at all": {"Authorization": "Bearer \xff\xfe\x01"},
    "the secret as a cookie": {"Cookie": f"{sessions.COOKIE}={ADMIN}"},
    "headers that a proxy might set": {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-User": "admin",
        "X-Original-URL": "/healthz",
        "X-Rewrite-URL": "/healthz",
        "X-HTTP-Method-Override": "GET",
        "Remote-User": "admin",
    },
}  # fmt: skip


def test_each_route_has_a_scope(token_client: FlaskClient) -> None:
    """A new route fails here until `doors.py` names the scope that may use it."""
    assert view_routes(token_client.application) == set(DECLARED)


@pytest.mark.parametrize("headers", NOBODY.values(), ids=NOBODY)
def test_without_a_token_guarded_routes_are_closed(
    token_client: FlaskClient, headers: dict[str, str]
) -> None:
    """401 for every method, or for a page a redirect to the form."""
    tried = 0
    for door in doors(token_client.application):
        answer = token_client.open(door.path, method=door.method, headers=headers)
        tried += 1
        if door.scope == "open":
            continue
        if door.scope == "page" and "Authorization" not in headers and door.method in READS:
            assert answer.headers["Location"] == "/sign-in", door
        else:
            assert answer.status_code == 401, door
            assert "Set-Cookie" not in answer.headers
    assert tried >= 300


@pytest.mark.parametrize("secret", [PREDICT, ADMIN], ids=["predict", "admin"])
def test_a_token_opens_only_the_routes_of_its_scope(token_client: FlaskClient, secret: str) -> None:
    """403 for the rest. A method that a route does not have gets 405 and does nothing."""
    for door in doors(token_client.application):
        answer = token_client.open(door.path, method=door.method, headers=bearer(secret))
        if door.scope is None:
            allowed = {405, 403} if secret == PREDICT else {405}
            assert answer.status_code in allowed, door
        elif door.scope == "admin" and secret == PREDICT and door.method != "OPTIONS":
            assert answer.status_code == 403, door
        else:
            form = door.path == "/sign-in" and door.method == "POST"  # it takes no header
            assert answer.status_code not in ({403} if form else {401, 403}), door
        assert answer.status_code < 500, door


def test_the_body_of_a_request_with_a_wrong_token_is_not_read(token_client: FlaskClient) -> None:
    """A body that would be refused gets the same 401."""

    class Unreadable(io.BytesIO):
        def read(self, *_: int | None) -> bytes:
            raise AssertionError("the body was read")

        read1 = readline = read

    for door in doors(token_client.application):
        if door.scope in ("admin", "predict") and door.method in ("POST", "PUT"):
            answer = token_client.open(
                door.path,
                method=door.method,
                input_stream=Unreadable(b"{}"),
                content_type="application/json",
                headers=bearer("wrong"),
            )
            assert answer.status_code == 401, door


def test_without_a_token_unknown_paths_answer_like_known_ones(token_client: FlaskClient) -> None:
    """Nobody learns from the answer which paths there are."""
    there = token_client.get("/ml/v2/jobs")
    for path in ("/ml/v2/nothing", "/admin", "/ml/v1/predict", "/.env", "/ml/v2/jobs/x/y"):
        answer = token_client.get(path)

        assert answer.status_code == there.status_code == 401
        assert answer.json == there.json
