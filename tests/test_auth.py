"""Every door is closed unless it is meant to be open."""

from __future__ import annotations

import pytest

from tests.api import ADMIN, PREDICT, bearer
from web.auth import OPEN_ENDPOINTS, PAGES, scope_needed


def doors(app):
    """Every route with every method that it answers."""
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            path = rule.rule.replace("/static/<path:name>", "/static/page.js")
            for name in rule.arguments:
                path = path.replace(f"<{name}>", "x").replace(f"<path:{name}>", "start.js")
            yield rule.endpoint, method, path


def test_no_route_but_the_open_ones_answers_without_a_token(guarded):
    """The walk is over all routes there are, so a new one cannot be forgotten."""
    walked = 0
    for endpoint, method, path in doors(guarded.application):
        response = guarded.open(path, method=method)
        walked += 1
        if endpoint in OPEN_ENDPOINTS:
            assert response.status_code == (401 if endpoint == "pages.sign_in_with" else 200), path
        elif endpoint in PAGES:
            assert response.headers["Location"] == "/sign-in", path
        else:
            assert response.status_code == 401, path
            assert response.headers["WWW-Authenticate"] == "Bearer"
    assert walked >= 18


def test_a_predict_token_can_change_nothing(guarded):
    """403 on whatever needs admin, and not on what does not."""
    for endpoint, method, path in doors(guarded.application):
        if endpoint in OPEN_ENDPOINTS:
            continue
        status = guarded.open(path, method=method, headers=bearer(PREDICT)).status_code
        assert (status == 403) == (scope_needed(endpoint, method) == "admin"), (method, path)
        assert status != 401


@pytest.mark.parametrize("endpoint", ["predict", "predict_batch", "predict_explain"])
def test_predictions_need_the_predict_scope_only(endpoint):
    """They are posted, and change nothing."""
    assert scope_needed(f"ml_v2.{endpoint}", "POST") == "predict"


def test_admin_includes_predict(guarded):
    """One token is enough for an operator."""
    assert guarded.get("/ml/v2/jobs", headers=bearer(ADMIN)).status_code == 200
    assert guarded.post("/ml/v2/features", headers=bearer(ADMIN)).status_code == 202


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", f"Basic {ADMIN}", f"Bearer {ADMIN}x", f"Bearer {ADMIN[:-1]}", ADMIN],
)
def test_what_is_not_exactly_a_token_is_refused(guarded, header):
    """Neither a part of one nor another scheme."""
    response = guarded.get("/ml/v2/jobs", headers={"Authorization": header})

    assert response.status_code == 401
