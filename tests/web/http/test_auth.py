"""Every door is closed unless it is meant to be open."""

from __future__ import annotations

import pytest

from tests.support.api import ADMIN, PREDICT, bearer
from web.http.auth import OPEN_ENDPOINTS, PAGES, PREDICT_POSTS, scope_needed


def routes(app):
    """Every route with every method that it answers."""
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            path = rule.rule.replace("/static/<path:name>", "/static/page.js")
            for name in rule.arguments:
                path = path.replace(f"<{name}>", "x").replace(f"<path:{name}>", "start.js")
            yield rule.endpoint, method, path


def test_every_endpoint_of_the_access_rules_exists(token_client):
    """A renamed view would lose its rule, or leave a door open for the next of that name."""
    named = OPEN_ENDPOINTS | PAGES | PREDICT_POSTS

    assert named - set(token_client.application.view_functions) == set()


def test_only_open_routes_answer_without_a_token(token_client):
    """The walk is over all routes there are, so a new one cannot be forgotten."""
    walked = 0
    for endpoint, method, path in routes(token_client.application):
        response = token_client.open(path, method=method)
        walked += 1
        if endpoint in OPEN_ENDPOINTS:
            assert response.status_code == (401 if endpoint == "pages.sign_in_with" else 200), path
        elif endpoint in PAGES:
            assert response.headers["Location"] == "/sign-in", path
        else:
            assert response.status_code == 401, path
            assert response.headers["WWW-Authenticate"] == "Bearer"
    assert walked >= 18


def test_a_predict_token_can_change_nothing(token_client):
    """403 on whatever needs admin, and not on what does not."""
    for endpoint, method, path in routes(token_client.application):
        if endpoint in OPEN_ENDPOINTS:
            continue
        status = token_client.open(path, method=method, headers=bearer(PREDICT)).status_code
        assert (status == 403) == (scope_needed(endpoint, method) == "admin"), (method, path)
        assert status != 401


@pytest.mark.parametrize("endpoint", ["predict", "predict_batch", "predict_explain"])
def test_predictions_need_the_predict_scope_only(endpoint):
    """They are posted, and change nothing."""
    assert scope_needed(f"ml_v2.{endpoint}", "POST") == "predict"


def test_admin_includes_predict(token_client):
    """One token is enough for an operator."""
    assert token_client.get("/ml/v2/jobs", headers=bearer(ADMIN)).status_code == 200
    assert token_client.post("/ml/v2/features", headers=bearer(ADMIN)).status_code == 202


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", f"Basic {ADMIN}", f"Bearer {ADMIN}x", f"Bearer {ADMIN[:-1]}", ADMIN],
)
def test_anything_but_an_exact_token_is_refused(token_client, header):
    """Neither a part of one nor another scheme."""
    response = token_client.get("/ml/v2/jobs", headers={"Authorization": header})

    assert response.status_code == 401


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_without_tokens_localhost_is_accepted(client, host):
    assert client.get("/ml/v2/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example"])
def test_without_tokens_other_host_names_are_refused(client, host):
    """A page of a site whose name was made to lead here reads nothing, and changes nothing."""
    told = {"Host": host, "Origin": f"http://{host}"}

    assert client.get("/ml/v2/jobs", headers={"Host": host}).status_code == 403
    assert client.post("/ml/v2/predict", json={}, headers={"Host": host}).status_code == 403
    assert client.delete("/ml/v2/users?user_id=ada", headers=told).status_code == 403


def test_with_tokens_any_host_name_is_accepted(token_client):
    headers = {"Host": "ledger.example", **bearer(PREDICT)}

    assert token_client.get("/ml/v2/jobs", headers=headers).status_code == 200


def test_a_form_that_is_too_large_is_not_read(token_client):
    told = token_client.post("/sign-in", data={"token": "a" * 5_000})

    assert told.status_code == 413
