"""The pages: who may see them, what they show, and that they let nothing in."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from shared.db.engine import make_engine
from shared.db.tables import Arm
from shared.services import Services
from tests.shared.suggestions.test_review_queue import add_suggestion, add_transactions, get_queue
from tests.support.api import ADMIN, PREDICT, bearer, create_app, deploy_a_model
from tests.support.suggestions import an_arm
from web.http import sessions

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


def signed_in(client: FlaskClient, secret: str) -> str:
    """The word that this browser's pages send with what they change."""
    answer = client.post("/sign-in", data={"token": secret})
    assert answer.status_code == 303, answer.text
    found = re.search(r'name="csrf" content="([^"]+)"', client.get("/").text)
    assert found
    return found[1]


def test_page_without_a_session_redirects_to_sign_in(token_client: FlaskClient) -> None:
    answer = token_client.get("/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in")
    assert 'type="password"' in token_client.get("/sign-in").text
    assert token_client.get("/charts/history.svg").status_code == 401


def test_sign_in_sets_an_http_only_session_cookie(
    token_client: FlaskClient,
) -> None:
    answer = token_client.post("/sign-in", data={"token": ADMIN})

    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
    assert ADMIN not in cookie
    assert token_client.get("/").status_code == 200
    assert token_client.get("/ml/v2/jobs").status_code == 200


@pytest.mark.parametrize("secret", ["", "wrong", ADMIN[:-1], ADMIN + "x", "\x00"])
def test_wrong_token_opens_no_session(token_client: FlaskClient, secret: str) -> None:
    answer = token_client.post("/sign-in", data={"token": secret})

    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert token_client.post(f"/sign-in?token={ADMIN}").status_code == 401


def test_change_from_a_page_needs_the_csrf_token(token_client: FlaskClient) -> None:
    csrf = signed_in(token_client, ADMIN)

    assert token_client.post("/ml/v2/features", json={}).status_code == 403
    assert (
        token_client.post("/ml/v2/features", json={}, headers={sessions.HEADER: "x"}).status_code
        == 403
    )
    own = token_client.post("/ml/v2/features", json={}, headers={sessions.HEADER: csrf})
    assert own.status_code == 202
    elsewhere = {sessions.HEADER: csrf, "Sec-Fetch-Site": "cross-site"}
    assert token_client.post("/ml/v2/features", json={}, headers=elsewhere).status_code == 403


def test_session_has_the_scope_of_its_token(token_client: FlaskClient) -> None:
    csrf = signed_in(token_client, PREDICT)

    assert token_client.post("/ml/v2/train", headers={sessions.HEADER: csrf}).status_code == 403
    assert "data-post" not in token_client.get("/").text
    assert token_client.post("/ml/v2/train", headers=bearer(PREDICT)).status_code == 403


def test_session_ends_at_sign_out_or_when_its_cookie_changes(
    token_client: FlaskClient,
) -> None:
    csrf = signed_in(token_client, ADMIN)
    token_client.post("/sign-out", headers={sessions.HEADER: csrf})
    assert token_client.get("/").status_code == 302

    token_client.set_cookie(sessions.COOKIE, "made.up")
    assert token_client.get("/").status_code == 302
    assert token_client.get("/ml/v2/jobs").status_code == 401


def test_dashboard_without_a_version_links_to_the_next_step(client: FlaskClient) -> None:
    page = client.get("/").text

    assert "No version is live yet" in page
    assert "make import" in page
    assert "Nothing was asked for yet" in page


def test_dashboard_shows_the_live_version_and_the_feedback(
    client: FlaskClient, services: Services
) -> None:
    run_id = deploy_a_model(services.engine, services.registry)
    an_arm(services.engine, Arm.MODEL, users=6)
    client.put("/ml/v2/canary", json={"share": 1})

    page = client.get("/")
    figures = client.get("/figures").text

    assert run_id in page.text
    assert 'data-url="/figures"' in page.text
    assert "0.900" in page.text
    assert "300" in figures
    assert "model beside rules: <strong>not enough data</strong>" in figures
    assert page.headers["Cache-Control"] == "no-store"
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert len(page.data) < 500_000


def test_the_table_of_categories_begins_with_the_most_frequent(
    client: FlaskClient, services: Services
) -> None:
    """As the chart beside it; a rare category is left out before a frequent one."""
    figures = {"f1": 0.5, "precision": 0.5, "recall": 0.5, "learned": True}
    classes = [{"label": f"Category {n:02}", "support": n, **figures} for n in range(1, 23)]
    deploy_a_model(services.engine, services.registry, classes=classes)

    page = client.get("/").text

    shown = re.findall(r'<th scope="row">(Category \d+)</th>', page)
    assert shown == [f"Category {n:02}" for n in range(22, 2, -1)]


def test_dashboard_links_to_flower_and_prometheus(services: Services) -> None:
    settings = replace(services.settings, links={"Grafana": "https://grafana.example"})

    page = create_app(replace(services, settings=settings)).test_client().get("/").text

    assert '<a href="https://grafana.example">Grafana</a>' in page
    assert "Flower" not in page


def test_pages_load_nothing_from_other_hosts(client: FlaskClient) -> None:
    for path in ("/", "/try", "/sign-in"):
        page = client.get(path).text
        assert not re.search(r'(src|href)="(https?:)?//', page)
        for found in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
            assert client.get(found).status_code == 200
        assert not re.search(r"<script>|<style|style=| on\w+=", page)


def test_html_in_stored_text_is_escaped(client: FlaskClient, services: Services) -> None:
    deploy_a_model(services.engine, services.registry, rename=HOSTILE)

    page = client.get("/").text

    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("name", ["history", "reliability", "precision", "classes"])
def test_charts_are_drawn_without_a_script(
    client: FlaskClient, services: Services, name: str
) -> None:
    deploy_a_model(services.engine, services.registry)

    chart = client.get(f"/charts/{name}.svg")

    assert chart.mimetype == "image/svg+xml"
    assert "<script" not in chart.text
    assert client.get("/charts/other.svg").status_code == 404


def test_dashboard_without_postgres_shows_the_live_model_and_a_notice(services: Services) -> None:
    run_id = deploy_a_model(services.engine, services.registry)
    away = make_engine("postgresql+psycopg2://nobody@127.0.0.1:9/none", pool_size=1)
    client = create_app(replace(services, engine=away)).test_client()

    page = client.get("/")

    assert page.status_code == 200
    assert "PostgreSQL does not answer" in page.text
    assert run_id in page.text


def test_the_review_page_offers_every_category_and_user_as_text(
    client: FlaskClient, services: Services
) -> None:
    deploy_a_model(services.engine, services.registry, rename=HOSTILE)
    for user in ("ada", HOSTILE):
        (txn_id,) = add_transactions(services, HOSTILE, user=user)
        add_suggestion(services, txn_id, 0.5, user_id=user, merchant=HOSTILE, label=HOSTILE)

    page = client.get("/review")

    assert page.text.count(f'<option value="{"&lt;script&gt;"}') >= 4
    assert "<option>ada</option>" in page.text
    assert "<script>" not in page.text
    assert "<img src=x" not in page.text
    assert not re.search(r"<style|style=", page.text)
    for found in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert client.get(found).status_code == 200
    assert get_queue(client)["items"][0]["merchant"] == HOSTILE


def test_review_script_never_inserts_text_as_html(client: FlaskClient) -> None:
    for name in ("review.js", "review_api.js", "review_entry.js"):
        script = client.get(f"/static/{name}").text
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_review_page_without_postgres_shows_a_notice(services: Services) -> None:
    away = make_engine("postgresql+psycopg2://nobody@127.0.0.1:9/none", pool_size=1)
    client = create_app(replace(services, engine=away)).test_client()

    page = client.get("/review")

    assert page.status_code == 200
    assert "PostgreSQL does not answer" in page.text
