"""A word that stands in one transaction is found nowhere but in the rows that are the user's."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import Engine, text
from werkzeug.datastructures import FileStorage
from werkzeug.test import stream_encode_multipart

from shared.db.tables import Base
from shared.services import Services
from tests.support.api import deploy_a_model
from tests.support.factories import add_transactions
from tests.support.waiting import wait_until
from tests.system.stack import Stack, free_port

# In merchant, description, account and user id; digits and signs are not part of it, since
# features fold them.
WORD = "qzxkanaryvw"
USER = f"{WORD}-user"
PLANTED = {
    "user_id": USER,
    "date": "2026-05-01",
    "amount": -4.5,
    "merchant": f"{WORD} Oncology",
    "description": f"paid to {WORD} by card",
    "account": f"{WORD}-account",
    "channel": f"{WORD}-way",
}
ALL_TABLES = """
    SELECT schemaname, tablename FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
        AND schemaname NOT LIKE 'pg\\_temp%'
"""
# As the page's own script asks for it.
TASKS = (
    "/tasks/datatable?draw=1&start=0&length=500&search%5Bvalue%5D=&order%5B0%5D%5Bcolumn%5D=0"
    "&order%5B0%5D%5Bdir%5D=asc&columns%5B0%5D%5Bdata%5D=name"
)
# Tables of the user's own rows may have the word: deleting the user empties them.
OF_THE_USER = {
    "transactions",
    "ml_features",
    "rule_sets",
    "suggestions",
    "suggestion_answers",
}


def holds(data: bytes) -> bool:
    """Whether the word is in it, in any letters, also packed or as UTF-16."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    low = data.lower()
    return WORD.encode() in low or WORD.encode("utf-16-le") in low


def tables_with(engine: Engine, word: str) -> set[str]:
    """Of all tables that there are, known to the metadata or not, those with the word in a row."""
    with engine.connect() as connection:
        names = connection.execute(text(ALL_TABLES)).all()
        assert {table.name for table in Base.metadata.sorted_tables} <= {name for _, name in names}
        return {
            name
            for schema, name in names
            if connection.scalar(
                text(f'SELECT count(*) FROM "{schema}"."{name}" AS r WHERE r::text ILIKE :word'),
                {"word": f"%{word}%"},
            )
        }


def bad_requests() -> Iterator[tuple[str, str, object]]:
    """The word in every place where input can be refused, or looked for in vain."""
    for path in ("jobs", "models", "suggestions"):
        yield "GET", f"/ml/v2/{path}/{WORD}", None
    yield "POST", f"/ml/v2/suggestions/{WORD}/feedback", {"action": WORD}
    yield "POST", f"/ml/v2/models/{WORD}/deploy", {"why": 7, WORD: WORD}
    yield "POST", "/ml/v2/predict", {**PLANTED, "amount": WORD}
    yield "POST", "/ml/v2/predict", {**PLANTED, "mcc": WORD, "currency": WORD}
    yield "POST", "/ml/v2/predict", {"merchant": WORD + "\x00", WORD: WORD}
    yield "POST", "/ml/v2/transactions", {"transactions": [{**PLANTED, "external_id": ""}]}
    yield "POST", "/ml/v2/labels", {"labels": [{"external_id": WORD, "label": WORD}]}
    yield "PUT", "/ml/v2/rules", {"rules": [{"label": WORD, "pattern": f"({WORD}"}]}
    yield "GET", f"/ml/v2/jobs?state={WORD}&{WORD}=1", None
    yield "GET", f"/{WORD}?{WORD}", None


@pytest.mark.system
def test_texts_of_transactions_appear_in_no_log_metric_message_model_or_title(
    stack: Stack, database: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    """After the whole flow in real processes: stored, brought in a file, built, trained, predicted,
    suggested, told otherwise, made a rule, refused, and in the middle of errors."""
    stack.env |= {"LOG_LEVEL": "debug", "ML_MIN_LABELS": "20", "WEB_PROCESSES": "1"}
    flower_port = free_port()
    add_transactions(database, 400, labelled=400)
    with database.begin() as connection:  # of users enough that their categories are shared
        connection.execute(text("UPDATE transactions SET user_id = 'user ' || id % 5"))
    stack.web()
    stack.worker("features")
    stack.worker("training")
    flower = _flower(stack, flower_port)
    rows = [{**PLANTED, "external_id": f"{WORD}-{n}"} for n in range(30)]
    stack.call("POST", "/ml/v2/transactions", {"transactions": rows})
    labels = [{"external_id": f"{WORD}-{n}", "label": "Coffee"} for n in range(20)]
    stack.call("POST", "/ml/v2/labels", {"labels": labels})
    rules = {"rules": [{"label": "Fuel", "merchant": WORD}]}

    asked = [stack.call("POST", "/ml/v2/features", {})]
    stack.ended(asked[0].body["job_id"])
    trained = stack.ended(stack.call("POST", "/ml/v2/train").body["job_id"])
    wait_until(
        lambda: stack.call("GET", "/ml/v2/model/status").body["available"], "a model is live"
    )
    raw = {**PLANTED}
    for path in ("predict", "predict/explain"):
        assert stack.call("POST", f"/ml/v2/{path}", raw).status == 200
    stack.call("POST", "/ml/v2/predict/batch", {"rows": [raw, {**raw, "amount": WORD}]})
    suggested = stack.call("POST", "/ml/v2/suggest", {"transactions": [raw] * 3}).body["items"]
    for item, action in zip(suggested, ("accept", "correct", "reject"), strict=True):
        feedback = {"action": action} | ({"label": "Fuel"} if action == "correct" else {})
        stack.call("POST", f"/ml/v2/suggestions/{item['suggestion_id']}/feedback", feedback)
    stack.call("PUT", f"/ml/v2/rules?user_id={USER}", rules)
    stack.call("POST", "/ml/v2/rules/preview", rules)
    for path in ("rules/apply", "suggest/history"):
        stack.ended(stack.call("POST", f"/ml/v2/{path}", {"user_id": USER}).body["job_id"])
    imported = _bring_a_file(stack)
    for path in (f"review?user_id={USER}", f"imports?user_id={USER}"):
        assert stack.call("GET", f"/ml/v2/{path}").status == 200
    for method, path, body in bad_requests():
        assert stack.call(method, path, body).status < 500, path
    _break_a_table(stack, database)
    metrics = _fetch(f"http://127.0.0.1:{stack.port}/metrics")
    titles = _titles(stack)
    pages = {
        path: _fetch(f"http://127.0.0.1:{flower_port}{path}")
        for path in ("/", "/tasks", TASKS, "/metrics",
                     "/workers", "/broker", "/api/tasks")
    }  # fmt: skip
    broker = Redis.from_url(environment["REDIS_URL"])

    assert trained["state"] == "succeeded", trained
    assert imported["result"]["inserted"] == 1, imported
    logs = ("web", "features", "training", "flower")
    assert [name for name in logs if holds(stack.log(name).encode())] == []
    assert "request.broke" in stack.log("web")
    assert b"lm_" in metrics
    assert not holds(metrics)
    assert [line for line in titles if holds(line.encode())] == []
    assert [path for path, page in pages.items() if holds(page)] == []
    assert len(pages[TASKS]) > 1_000
    assert [key for key in broker.scan_iter() if holds(key + (broker.dump(key) or b""))] == []
    files = [file for file in (tmp_path / "registry").rglob("*") if file.is_file()]
    assert len(files) >= 3
    assert [file for file in files if holds(file.read_bytes()) or holds(str(file).encode())] == []
    counters = [file for file in (tmp_path / "metrics").rglob("*") if file.is_file()]
    assert [file for file in counters if holds(file.read_bytes())] == []
    assert tables_with(database, WORD) - {"jobs", "imports"} <= OF_THE_USER
    assert flower.poll() is None


def test_a_deleted_user_leaves_nothing_in_any_table(
    client: FlaskClient, services: Services, engine: Engine
) -> None:
    """All tables of the database are looked through, so that a new one is covered by itself."""
    add_transactions(engine, 300, labelled=300)
    earlier = deploy_a_model(engine, services.registry)
    rows = [{**PLANTED, "external_id": f"{WORD}-{n}"} for n in range(5)]
    client.post("/ml/v2/transactions", json={"transactions": rows})
    labels = [{"external_id": f"{WORD}-{n}", "label": f"{WORD} label"} for n in range(3)]
    client.post("/ml/v2/labels", json={"labels": labels})
    deploy_a_model(engine, services.registry)
    services.live_model.check()
    with engine.connect() as connection:
        stored = text("SELECT id FROM transactions WHERE user_id = :user ORDER BY id")
        ids = [*connection.scalars(stored, {"user": USER})]
    of_raw = client.post("/ml/v2/suggest", json={"transactions": [PLANTED] * 3}).json["items"]
    of_stored = client.post("/ml/v2/suggest", json={"txn_ids": ids}).json["items"]
    for item in of_raw + of_stored[2:]:
        feedback = {"action": "correct", "label": f"{WORD} choice"}
        client.post(f"/ml/v2/suggestions/{item['suggestion_id']}/feedback", json=feedback)
    client.post(
        f"/ml/v2/suggestions/{of_raw[0]['suggestion_id']}/feedback", json={"action": "undo"}
    )
    for version in ("first", "second"):
        rules = [{"label": f"{WORD} {version}", "merchant": WORD}]
        client.put(f"/ml/v2/rules?user_id={USER}", json={"rules": rules})
    for path in ("rules/apply", "suggest/history"):
        assert client.post(f"/ml/v2/{path}", json={"user_id": USER}).status_code == 202
    assert tables_with(engine, WORD) == {*OF_THE_USER, "transaction_labels", "jobs"}
    before = client.post("/ml/v2/suggest", json={"transactions": [PLANTED]}).json["items"][0]
    assert WORD in before["label"]

    gone = client.delete(f"/ml/v2/users?user_id={USER}")

    assert gone.status_code == 200
    assert tables_with(engine, WORD) == set()
    after = client.post("/ml/v2/suggest", json={"transactions": [PLANTED]}).json["items"][0]
    assert WORD not in json.dumps({**after, "alternatives": []})
    assert gone.json["models"]
    assert earlier not in gone.json["models"]


def _flower(stack: Stack, port: int) -> subprocess.Popen[bytes]:
    """As anybody sees it who got past its password."""
    stack.env["FLOWER_UNAUTHENTICATED_API"] = "true"
    options = ["--address=127.0.0.1", f"--port={port}"]
    process = stack.start("flower", "-m", "celery", "-A", "worker.app", "flower", *options)

    def answers() -> bool:
        try:
            return bool(_fetch(f"http://127.0.0.1:{port}/healthcheck"))
        except OSError:
            return False

    wait_until(answers, "Flower answers")
    return process


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
    return body


def _bring_a_file(stack: Stack) -> dict[str, Any]:
    """A bank's file with the word in its name, a row that is taken and one that is not."""
    content = f"date,amount,merchant\n2026-05-02,-4.50,{WORD} Kiosk\n{WORD},{WORD},{WORD}\n"
    form = {
        "file": FileStorage(io.BytesIO(content.encode()), f"{WORD}.csv"),
        "options": json.dumps({"user_id": USER}),
    }
    body, length, boundary = stream_encode_multipart(form)
    asked = urllib.request.Request(
        f"http://127.0.0.1:{stack.port}/ml/v2/imports",
        body.read(),
        {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length),
        },
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        ended = stack.ended(json.load(answer)["job_id"])
    for job in stack.call("GET", "/ml/v2/jobs").body["jobs"]:  # features follow
        stack.ended(job["job_id"])
    return ended


def _break_a_table(stack: Stack, database: Engine) -> None:
    """Have statements fail that carry the word, in the web process and in a worker."""
    rows = [{**PLANTED, "external_id": f"{WORD}-new"}]
    stack.call("POST", "/ml/v2/transactions", {"transactions": rows})  # for the worker to meet
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE transactions RENAME COLUMN account TO gone"))
    broken = stack.call("POST", "/ml/v2/transactions", {"transactions": rows})
    job = stack.ended(stack.call("POST", "/ml/v2/features", {"all": True}).body["job_id"])
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE transactions RENAME COLUMN gone TO account"))
    assert broken.status == 500
    assert job["state"] == "failed"
    assert not holds(json.dumps([broken.body, job]).encode())


def _titles(stack: Stack) -> list[str]:
    """Command lines and environments of all processes of the stack."""
    found = []
    for process in stack.processes:
        whole = psutil.Process(process.pid)
        for one in [whole, *whole.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(f"{one.cmdline()} {one.name()} {one.environ()}")
    assert len(found) >= 6
    return found
