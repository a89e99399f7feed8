"""Whatever is sent, the answer is the caller's fault or a good one, never a fault of the service.

`ATTACKS=12000 ATTACK_SEED=7 pytest tests/attacks` sends more; `make attack` does.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from shared.services import build as build_services
from shared.settings import Settings
from tests.attacks.conftest import Live
from tests.attacks.doors import DECLARED
from tests.attacks.hostile import GOOD, JSON, QUERIES, shots
from tests.attacks.wire import request, send
from tests.support.api import ADMIN, TOKENS, bearer, create_app, deploy_a_model
from tests.support.factories import add_transactions
from web.app import BODY_MAX_BYTES

COUNT = int(os.environ.get("ATTACKS", "1500"))
SEED = int(os.environ.get("ATTACK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
MIB = 1024 * 1024
TOKEN = f"Authorization: Bearer {ADMIN}"


@pytest.fixture(scope="module")
def attacked(
    engine: Engine, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    """With a model, rows and labels, so that what is let through meets something."""
    own = {**environment, "ML_REGISTRY_DIR": str(tmp_path_factory.mktemp("hostile"))}
    services = build_services(
        replace(Settings.from_env(own), api_auth=True, api_tokens=TOKENS, min_labels=10**6)
    )
    add_transactions(engine, 100, labelled=100, seed=99)
    deploy_a_model(engine, services.registry)
    services.live_model.check()
    yield create_app(services).test_client()
    services.close()


def refuse_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


def check(answer: TestResponse, what: object) -> None:
    """An answer that a client can read, and that says which field is wrong."""
    assert answer.status_code < 500, what
    if answer.mimetype.endswith("json"):
        json.loads(answer.data, parse_constant=refuse_constant)
    if answer.status_code >= 400 and answer.mimetype != "text/html":
        assert answer.mimetype == "application/problem+json", what
        assert {"type", "title", "status", "detail", "code"} <= answer.json.keys(), what
        if answer.json["code"] == "invalid_input":
            assert all(error["field"] for error in answer.json["errors"]), what
            assert answer.json["errors"], what


def test_every_route_with_input_is_attacked() -> None:
    """A new route fails here until it is attacked."""
    reads = {door.replace("<run_id>", "x").replace("<suggestion_id>", "x") for door in DECLARED}
    takes = {door for door in reads if door.split()[0] in ("POST", "PUT")}

    assert takes - {"POST /sign-out"} == set(GOOD)
    assert set(QUERIES) <= reads


def test_hostile_requests_break_nothing(attacked: FlaskClient) -> None:
    """The printed seed repeats the same requests."""
    print(f"ATTACK_SEED={SEED} ATTACKS={COUNT}")  # noqa: T201
    seen: Counter[str] = Counter()
    for shot in itertools.islice(shots(SEED), COUNT):
        answer = attacked.open(
            shot.path,
            method=shot.method,
            data=shot.body,
            content_type=shot.content_type,
            headers=bearer(ADMIN),
        )
        check(answer, f"ATTACK_SEED={SEED}: {shot!r:.2000}")
        seen[f"{answer.status_code // 100}xx"] += 1
    print(dict(seen))  # noqa: T201
    assert seen["4xx"] > COUNT / 3
    assert seen["2xx"] > COUNT / 20


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("route", [route for route in GOOD if route != "POST /sign-in"])
def test_any_json_in_place_of_any_field_breaks_nothing(attacked: FlaskClient, route: str) -> None:
    """Hypothesis draws the JSON, and reduces what fails."""
    method, path = route.split(" ", 1)
    names = st.sampled_from([*GOOD[route]])

    @seed(SEED)
    @settings(
        max_examples=max(20, COUNT // 60),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(name=names, value=ANY_JSON, alone=st.booleans())
    def holds(name: str, value: object, alone: bool) -> None:
        data = json.dumps({name: value} if alone else {**GOOD[route], name: value})
        body = data.encode("utf-8", "surrogatepass")
        answer = attacked.open(
            path, method=method, data=body, content_type=JSON, headers=bearer(ADMIN)
        )
        check(answer, f"ATTACK_SEED={SEED}: {route} {data:.2000}")

    holds()


HUGE = {
    "a million rows": b'{"rows":[' + b",".join([b"{}"] * 1_000_000) + b"]}",
    "a number of a million digits": b'{"amount":' + b"9" * 1_000_000 + b"}",
    "a fraction of a million digits": b'{"amount":0.' + b"9" * 1_000_000 + b"}",
    "as large as is taken": b'{"merchant":"' + b"a" * (BODY_MAX_BYTES - 20) + b'"}',
    "one byte more": b" " * (BODY_MAX_BYTES + 1),
    "four million brackets": b"[" * (BODY_MAX_BYTES - 1),
    "a million keys": b"{" + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}",
    "a thousand rows of much text": b'{"rows":['
    + b",".join([b'{"merchant":"' + b"x " * 1_900 + b'"}'] * 1_000)
    + b"]}",
    "a million empty lists": b'{"transactions":[' + b",".join([b"[]"] * 1_000_000) + b"]}",
    "one field a million times": b"{" + b",".join([b'"merchant":"a"'] * 250_000) + b"}",
}


def test_huge_bodies_use_bounded_memory_of_the_real_server(live: Live) -> None:
    """Eight at a time, at every route with a body; the container has 1.5 GiB."""
    places = [(route, name) for route in GOOD for name in HUGE]
    if COUNT < 10_000:
        places = places[SEED % 5 :: 5]  # a share of them; `make attack` sends all
    most = 0

    def sent(place: tuple[str, str]) -> tuple[list[int], tuple[str, str]]:
        nonlocal most
        route, name = place
        body, framing = HUGE[name], f"Content-Length: {len(HUGE[name])}"
        if len(name) % 2:
            body, framing = (
                b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
                "Transfer-Encoding: chunked",
            )
        kinds = (TOKEN, f"Content-Type: {JSON}", framing, "Connection: close")
        response = send(live.port, request(*route.split(" ", 1), *kinds), body, wait_s=30)
        most = max(most, live.memory())
        return response.statuses, place

    before = live.memory()
    with ThreadPoolExecutor(8) as pool:
        for statuses, place in pool.map(sent, places):
            # A connection that is closed on a body too large may lose the answer to that.
            assert len(statuses) <= 1, place
            assert all(status < 500 or status == 503 for status in statuses), (place, statuses)
    print(f"resident: {before // MIB} MiB before, {most // MIB} MiB at most")  # noqa: T201
    assert most < 1200 * MIB
    assert live.alive()
    assert live.broken() == []
