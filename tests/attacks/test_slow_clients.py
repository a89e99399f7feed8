"""Many clients that never finish their request: others are served as without them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.attacks.conftest import Live
from tests.attacks.wire import request
from tests.support.api import PREDICT, bearer

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
    """*count* connections on which *data* was sent, and nothing more."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            stack.enter_context(connection)
            connection.sendall(data)
            connections.append(connection)
        yield connections


def slowest_answer(live: Live) -> float:
    """Ask for health and a prediction many times; the seconds of the slowest answer."""
    took = []
    for _ in range(20):
        for method, path, body in (
            ("GET", "/healthz", None),
            ("POST", "/ml/v2/predict", {"merchant": "BEAN HOUSE"}),
        ):
            started = time.monotonic()
            assert live.call(method, path, body, **bearer(PREDICT)).status == 200
            took.append(time.monotonic() - started)
    return max(took)


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_two_hundred_slow_clients_do_not_delay_others(live: Live, data: bytes) -> None:
    """Health and predictions are answered meanwhile, within a second each."""
    usual_s = slowest_answer(live)

    with many(live.port, CLIENTS, data):
        slowest_s = slowest_answer(live)

    assert slowest_s < max(1, 3 * usual_s)  # a busy machine is slow without slow clients, too
