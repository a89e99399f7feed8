"""The short way to a prediction answers as the long one does, and lets nobody else in."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.services import Services
from tests.support.api import ADMIN, PREDICT, TOKENS, bearer
from web.predictions import fast_path

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATH = "/ml/v2/predict"
FIELDS = {"merchant": "TIM HORTONS #12", "amount": -4.5, "date": "2026-05-03"}
THE_LONG_WAY = {"Cookie": "nothing=here"}  # a page's request is never in order for the short one
BODIES = [
    b"", b" ", b"{", b"[]", b"null", b"\xff", b'{"merchant": "\xff"}', b'{"merchant": "\\ud800"}',
    b"{}", b'{"merchant": 1}', b'{"amount": 1e309}', b'{"amount": NaN}', b'{"unknown": 1}',
    b'{"txn_id": 1}', b'{"date": "2026-02-30"}', b'{"mcc": "5411", "hour_of_day": 23.0}',
    b'{"merchant": null, "dow": 6}', json.dumps(FIELDS).encode(),
    json.dumps({"merchant": "x" * 1001}).encode(), json.dumps({"user_id": "\0"}).encode(),
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": f"Basic {PREDICT}"},
    {"Authorization": f"bearer   {PREDICT}  "},
    {"Authorization": ""},
    bearer(ADMIN),
    {**bearer(PREDICT), "Content-Type": "text/plain"},
    {**bearer(PREDICT), "Content-Type": "application/json; charset=utf-8"},
    {**bearer(PREDICT), "Transfer-Encoding": "gzip"},
    {**bearer(PREDICT), "Host": "one.example, two.example"},
    {**bearer(PREDICT), "Sec-Fetch-Site": "cross-site"},
    {**bearer(PREDICT), "Origin": "https://elsewhere.example"},
    {**bearer(PREDICT), "X-Request-ID": "mine-1"},
]


def comparable(answer: TestResponse) -> tuple[int, Any, dict[str, str]]:
    """All that a caller sees, but for what differs each time."""
    headers = {name.lower(): value for name, value in answer.headers}
    if not headers["x-request-id"].startswith("mine"):
        del headers["x-request-id"]
    return answer.status_code, answer.json, headers


def both(client: FlaskClient, body: bytes, headers: dict[str, str], path: str = PATH) -> list[Any]:
    asked = {"Content-Type": "application/json", **headers}
    return [
        comparable(client.post(path, data=body, headers=way))
        for way in (asked, {**asked, **THE_LONG_WAY})
    ]


@pytest.mark.parametrize("body", BODIES)
def test_fast_path_and_flask_answer_any_body_alike(token_client: FlaskClient, body: bytes) -> None:
    short, long = both(token_client, body, bearer(PREDICT))

    assert short == long
    assert short[0] in (200, 400, 404)


@pytest.mark.parametrize("headers", HEADERS)
def test_fast_path_and_flask_accept_the_same_tokens(
    token_client: FlaskClient, headers: dict[str, str]
) -> None:
    short, long = both(token_client, json.dumps(FIELDS).encode(), headers)

    assert short == long


def test_fast_path_and_flask_accept_local_requests_without_tokens(client: FlaskClient) -> None:
    short, long = both(client, json.dumps(FIELDS).encode(), {})

    assert short == long
    assert short[0] == 200


def test_well_formed_request_takes_the_fast_path(
    token_client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("Flask was asked")

    monkeypatch.setattr(token_client.application, "request_context", refused)

    answer = token_client.post(PATH, json=FIELDS, headers=bearer(PREDICT))

    assert answer.status_code == 200


def test_fault_on_the_fast_path_is_reported_by_flask(
    token_client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    services = token_client.application.extensions["ledger"]
    monkeypatch.setattr(services.live_model, "predict", broken)

    answer = token_client.post(PATH, json=FIELDS, headers=bearer(PREDICT))

    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert answer.headers["X-Request-ID"]


ENVIRON = {
    "REQUEST_METHOD": "POST",
    "PATH_INFO": PATH,
    "CONTENT_TYPE": "application/json",
    "HTTP_HOST": "localhost",
    "HTTP_AUTHORIZATION": f"Bearer {PREDICT}",
}


def asked_of_flask(services: Services, body: bytes, **environ: Any) -> bytes | None:
    """The body that Flask is left with; None where it is not asked."""
    bodies: list[bytes] = []

    def flask(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        bodies.append(environ["wsgi.input"].read())
        return []

    settings = replace(services.settings, api_auth=True, api_tokens=TOKENS)
    asked = {**ENVIRON, "CONTENT_LENGTH": str(len(body)), **environ}
    asked = {name: value for name, value in asked.items() if value is not None}
    asked["wsgi.input"] = io.BytesIO(body)
    fast_path.fast_path(flask, replace(services, settings=settings))(
        asked, lambda *_: lambda _: None
    )
    return bodies[0] if bodies else None


def test_truncated_body_is_passed_to_flask_whole(
    services: Services,
) -> None:
    """Cut off in its middle, it may be valid all the same."""
    body = json.dumps(FIELDS).encode()

    assert asked_of_flask(services, body) is None
    assert asked_of_flask(services, body, CONTENT_LENGTH=str(len(body) + 1)) == body


@pytest.mark.parametrize(
    "environ",
    [
        *({"CONTENT_LENGTH": it} for it in (None, "", "0", "-1", "1e3", "²", "٣", "9" * 7)),
        {"REQUEST_METHOD": None},
        {"PATH_INFO": None},
        {"CONTENT_TYPE": None},
        {"HTTP_HOST": None},
        {"HTTP_HOST": "\xff"},
        {"HTTP_AUTHORIZATION": None},
        {"HTTP_AUTHORIZATION": "Bearer \xff\udcff"},
    ],
    ids=str,
)
def test_any_other_environ_is_passed_to_flask(services: Services, environ: dict[str, Any]) -> None:
    body = b"{}  "

    assert asked_of_flask(services, body, **environ) == body
