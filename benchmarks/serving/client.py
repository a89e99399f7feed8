"""Clients over raw sockets, in a process of their own.

    python -m benchmarks.serving.client PORT CLIENTS SECONDS [RATE] < requests.json

Without a rate each client asks, waits, and asks again: how much can be had. With one, requests are
due at so many a second whatever the answers take, and the time of each counts from when it was due:
a server that stands still for a while is then seen by all who would have come meanwhile.

Each line of standard input is one whole request as JSON text; they are sent in turn. What is
printed is JSON: `requests`, `failed` (any status but 200), `seconds`, the latencies `p50_ms`,
`p99_ms`, and with a rate `spans`: the begin and the end of each, by the clock of all processes.
Client libraries take longer to write a request than some servers to answer it.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import deque
from itertools import cycle
from typing import Any


def main(argv: list[str]) -> int:
    port, clients, seconds = int(argv[0]), int(argv[1]), float(argv[2])
    asked = [json.loads(line).encode() for line in sys.stdin]
    if len(argv) > 3:
        print(json.dumps(steady(port, clients, seconds, float(argv[3]), asked)))
    else:
        print(json.dumps(run(port, clients, seconds, asked)))
    return 0


class _Connection:
    """One client: what it waits for, and since when."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = b""
        self.since = 0.0

    def ask(self, request: bytes) -> None:
        self.heard = b""
        self.since = time.perf_counter()
        self.socket.sendall(request)

    def status(self) -> int | None:
        """Of the answer, when it is here whole; 0 if the server hung up."""
        part = self.socket.recv(1 << 20)
        self.heard += part
        if not part:
            return 0
        head, found, body = self.heard.partition(b"\r\n\r\n")
        if not found:
            return None
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            whole = len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0])
        else:
            whole = body.endswith(b"0\r\n\r\n")
        return int(head[9:12]) if whole else None


def run(port: int, clients: int, seconds: float, asked: list[bytes]) -> dict[str, Any]:
    """Ask for so long; every request that was begun is waited for."""
    following, took, failed = cycle(asked), [], 0
    chosen = selectors.DefaultSelector()
    started = time.perf_counter()
    for _ in range(clients):
        connection = _Connection(port)
        chosen.register(connection.socket, selectors.EVENT_READ, connection)
        connection.ask(next(following))
    open_ = clients
    while open_:
        for key, _ in chosen.select():
            connection = key.data
            status = connection.status()
            if status is None:
                continue
            now = time.perf_counter()
            took.append(now - connection.since)
            failed += status != 200
            if status == 0:
                chosen.unregister(connection.socket)
                open_ -= 1
            elif now - started < seconds:
                connection.ask(next(following))
            else:
                chosen.unregister(connection.socket)
                open_ -= 1
    return _told(took, failed, time.perf_counter() - started)


def steady(
    port: int, clients: int, seconds: float, rate: float, asked: list[bytes]
) -> dict[str, Any]:
    """Ask *rate* times a second for so long; who is due while all clients wait is asked next."""
    following, failed = cycle(asked), 0
    spans: list[tuple[float, float]] = []
    chosen = selectors.SelectSelector()  # epoll waits whole milliseconds
    idle = deque(_Connection(port) for _ in range(clients))
    for connection in idle:
        chosen.register(connection.socket, selectors.EVENT_READ, connection)
    started, sent, total = time.perf_counter(), 0, int(seconds * rate)
    while len(spans) < total:
        due, now = started + sent / rate, time.perf_counter()
        if sent < total and idle and due <= now:
            connection = idle.popleft()
            connection.ask(next(following))
            connection.since = due
            sent += 1
            continue
        for key, _ in chosen.select(due - now if sent < total and idle else None):
            connection = key.data
            status = connection.status()
            if status is None:
                continue
            spans.append((connection.since, time.perf_counter()))
            failed += status != 200
            if status == 0:
                chosen.unregister(connection.socket)
                connection = _Connection(port)
                chosen.register(connection.socket, selectors.EVENT_READ, connection)
            idle.append(connection)
    took = [end - begin for begin, end in spans]
    return {**_told(took, failed, time.perf_counter() - started), "spans": spans}


def _told(took: list[float], failed: int, elapsed: float) -> dict[str, Any]:
    took = sorted(took)
    return {
        "requests": len(took),
        "failed": failed,
        "seconds": elapsed,
        "p50_ms": 1000 * took[len(took) // 2],
        "p99_ms": 1000 * took[min(len(took) - 1, int(len(took) * 0.99))],
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
