"""Browser sessions: a cookie of the token that opened them."""

from __future__ import annotations

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from shared.settings import Token
from web.http import sessions

ADMIN = Token(scope="admin", secret="a-secret-of-the-admin-1")
READER = Token(scope="predict", secret="a-secret-of-the-app-22")


@pytest.fixture
def browser() -> FlaskClient:
    """Of an application that opens, shows and closes sessions."""
    app = Flask(__name__)

    @app.get("/open")
    def open_session() -> Response:
        response = Response()
        sessions.open_session(response, READER, secure=False)
        return response

    @app.get("/close")
    def close_session() -> Response:
        response = Response()
        sessions.close_session(response)
        return response

    return app.test_client()


def session_of(browser: FlaskClient, *tokens: Token) -> sessions.Session | None:
    cookie = browser.get_cookie(sessions.COOKIE)
    headers = {"Cookie": f"{sessions.COOKIE}={cookie.value}"} if cookie else {}
    with browser.application.test_request_context(headers=headers) as context:
        return sessions.session_of(context.request, tokens)


def test_session_has_the_scope_of_the_token_that_opened_it(browser: FlaskClient) -> None:
    browser.get("/open")

    found = session_of(browser, ADMIN, READER)

    assert found is not None
    assert found.scope == "predict"


def test_session_ends_with_its_token(browser: FlaskClient) -> None:
    browser.get("/open")

    assert session_of(browser, ADMIN) is None


def test_closed_session_is_none(browser: FlaskClient) -> None:
    browser.get("/open")
    browser.get("/close")

    assert session_of(browser, READER) is None


def test_cookie_is_kept_from_scripts_and_other_sites(browser: FlaskClient) -> None:
    cookie = browser.get("/open").headers["Set-Cookie"]

    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


def test_changed_cookie_opens_no_session(browser: FlaskClient) -> None:
    browser.get("/open")
    cookie = browser.get_cookie(sessions.COOKIE)
    assert cookie is not None
    # The first letter: of the last one, not all bits count.
    browser.set_cookie(sessions.COOKIE, ("a" if cookie.value[0] != "a" else "b") + cookie.value[1:])

    assert session_of(browser, READER) is None


def test_request_is_our_page_s_own_only_with_the_csrf_token(browser: FlaskClient) -> None:
    session = sessions.Session("admin", "the-token")
    for header, is_own in (({sessions.HEADER: "the-token"}, True), ({}, False)):
        with browser.application.test_request_context(headers=header) as context:
            assert sessions.is_own(session, context.request) is is_own
