"""Many who send a request without an end: the others are served as if nobody were there."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.api import PREDICT, bearer
from tests.attacks.conftest import Live
from tests.attacks.wire import request

CLIENTS = 200
TOKEN = f"Authorization: Bearer {PREDICT}"
FORM = "Content-Type: application/x-www-form-urlencoded"
SLOW = {
    "a form without an end, of nobody": request(
        "POST", "/sign-in", FORM, "Content-Length: 4000", body=b"token=a"
    ),
    "a large form without an end, of nobody": request(
        "POST", "/sign-in", FORM, "Content-Length: 4000000", body=b"token=" + b"a" * 20_000
    ),
    "headers without an end": request("POST", "/ml/v2/predict", TOKEN)[:-4],
    "nothing at all": b"",
}


@contextlib.contextmanager
def many(port: int, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """So many connections on which so much was sent, and nothing more."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            stack.enter_context(connection)
            connection.sendall(data)
            connections.append(connection)
        yield connections


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_two_hundred_slow_clients_stop_nobody(live: Live, data: bytes) -> None:
    """Health and predictions are answered meanwhile, within a second each."""
    with many(live.port, CLIENTS, data):
        for _ in range(20):
            started = time.monotonic()
            health = live.call("GET", "/healthz")
            predicted = live.call(
                "POST", "/ml/v2/predict", {"merchant": "BEAN HOUSE"}, **bearer(PREDICT)
            )

            assert (health.status, predicted.status) == (200, 200)
            assert time.monotonic() - started < 1
