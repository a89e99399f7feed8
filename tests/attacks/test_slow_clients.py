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
from web.http.server import HEADERS_WAIT_MS

CLIENTS, ATTEMPTS = 200, 5
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


def state(connection: socket.socket) -> str:
    """`open`, `closed`, or the status with which the server has answered it."""
    connection.setblocking(False)
    try:
        received = connection.recv(100)
    except BlockingIOError:
        return "open"
    return received.split()[1].decode() if received else "closed"


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_two_hundred_slow_clients_do_not_delay_others(live: Live, data: bytes) -> None:
    """Others are answered while slow clients are still connected, or were refused at once.

    If others had to wait, the server would have closed slow connections by then. It also does so
    after some seconds, which may pass on a busy machine; only then is there another attempt.
    """
    for _ in range(ATTEMPTS):
        started = time.monotonic()
        with many(live.port, CLIENTS, data) as connections:
            for _ in range(10):
                assert live.call("GET", "/healthz").status == 200
                body = {"merchant": "BEAN HOUSE"}
                assert live.call("POST", "/ml/v2/predict", body, **bearer(PREDICT)).status == 200
            states = set(map(state, connections))
        if states <= {"open", "413", "503"}:
            return
        if time.monotonic() - started < HEADERS_WAIT_MS / 1000:
            break
    pytest.fail(f"when others were answered, slow connections were {states}")
