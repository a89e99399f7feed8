"""The API where callers meet each other, or send what nobody expects."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import text

from tests.support.factories import add_transactions
from web.app import BODY_MAX_BYTES


def together(client, path, *bodies):
    """Post the bodies at the same moment; give the answers."""
    app, start = client.application, Barrier(len(bodies))

    def post(body):
        own = app.test_client()
        start.wait()
        return own.post(path, json=body)

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(post, bodies))


def test_of_two_users_who_bring_the_same_id_at_once_one_gets_it(client, engine):
    """The other is told, item by item; no row has the owner of one and the amount of the other."""

    def brought(user_id, amount):
        item = {"date": "2026-01-02", "amount": amount, "user_id": user_id}
        return {"transactions": [{**item, "external_id": f"t{n}"} for n in range(300)]}

    answers = together(client, "/ml/v2/transactions", brought("anna", 1), brought("bert", 2))

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT user_id, amount::int FROM transactions")).all()
    stored = [answer.json["inserted"] for answer in answers]
    refused = [
        sum(error["code"] == "conflict" for error in answer.json["errors"]) for answer in answers
    ]
    assert len(rows) == 300
    assert {tuple(row) for row in rows} <= {("anna", 1), ("bert", 2)}
    assert sum(stored) == 300
    assert [a + b for a, b in zip(stored, refused, strict=True)] == [300, 300]


@pytest.mark.parametrize("path", ["transactions", "labels"])
def test_the_same_items_in_another_order_do_not_lock_each_other_out(client, engine, path):
    """Both requests are served, whatever their order."""
    add_transactions(engine, 1000)
    if path == "labels":
        items = [{"external_id": f"made-up-1-{n}", "label": "X"} for n in range(1000)]
    else:
        items = [
            {"external_id": f"made-up-1-{n}", "date": "2026-01-02", "amount": n}
            for n in range(1000)
        ]
    for round_ in range(4):
        changed = "label" if path == "labels" else "merchant"
        forth = [{**item, changed: f"A{round_}"} for item in items]
        back = [{**item, changed: f"B{round_}"} for item in reversed(items)]

        answers = together(client, f"/ml/v2/{path}", {path: forth}, {path: back})

        assert [answer.status_code for answer in answers] == [200, 200]
        assert sum(a.json["inserted"] + a.json["updated"] for a in answers) == 2000


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_id_that_no_text_column_can_hold_is_unknown_like_any_other(client, method):
    """PostgreSQL has no text with a NUL in it."""
    assert client.open("/ml/v2/jobs/a%00b", method=method).status_code == 404


def test_a_path_with_doubled_slashes_is_not_found(client):
    """Not redirected: a client may repeat a redirected POST without its body."""
    response = client.post("/ml/v2//predict", json={})

    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"


def test_a_body_that_is_too_large_is_413_also_without_its_length_told(client):
    """Streamed bodies are cut at the limit by the server's reader; a cut body is no body."""
    response = client.post(
        "/ml/v2/predict",
        input_stream=io.BytesIO(b"{}" + b" " * BODY_MAX_BYTES + b"nonsense"),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )

    assert response.status_code == 413
    assert response.json["code"] == "too_large"


@pytest.mark.parametrize("date", ["1767312000", "20260102", "2026-01-02T00:00:00", "2026-02-30"])
def test_a_date_is_year_month_and_day(client, date):
    """In that one form: a number in quotes is no date."""
    response = client.post("/ml/v2/predict", json={"date": date})

    assert response.status_code == 400
    assert [error["field"] for error in response.json["errors"]] == ["date"]


def test_a_label_given_twice_is_refused_by_the_name_it_was_given_by(client, engine):
    """The first of them is stored."""
    (txn_id,) = add_transactions(engine, 1)
    by_id = [{"txn_id": txn_id, "label": "A"}, {"txn_id": txn_id, "label": "B"}]
    by_both = [*by_id[:1], {"external_id": "made-up-1-0", "label": "B"}]

    first = client.post("/ml/v2/labels", json={"labels": by_id}).json
    second = client.post("/ml/v2/labels", json={"labels": by_both}).json

    assert (first["inserted"], second["unchanged"]) == (1, 1)
    assert [error["errors"][0]["field"] for error in first["errors"]] == ["txn_id"]
    assert [error["errors"][0]["field"] for error in second["errors"]] == ["external_id"]


def test_a_taken_port_stops_the_start_with_one_clear_line(environment):
    """Two servers on one port would take turns in answering."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        done = subprocess.run(
            [sys.executable, "-m", "web"],
            env={**environment, "PATH": os.defpath, "WEB_PORT": port},
            capture_output=True,
            text=True,
            timeout=20,
        )

    assert done.returncode == 1
    assert done.stderr == f"web: 127.0.0.1:{port} cannot be listened on: Address already in use\n"
