"""Load generator: HTTP clients over raw sockets, in a separate process.

    python -m benchmarks.serving.client PORT CLIENTS SECONDS [RATE] < requests.json

Without a rate (closed loop) each client sends a request, waits for the response and sends the next:
this measures throughput. With a rate (open loop) requests are due at fixed times, and a latency
counts from the time that the request was due: a pause of the server shows in all requests due
meanwhile.

Each line of standard input is a whole request as a JSON string; they are sent in turn. The output
is JSON: `requests`, `failed` (any status but 200), `seconds`, the latencies `p50_ms` and `p99_ms`,
and with a rate `spans`: begin and end of each request, by the clock that all processes share. No
client library is used: it would need longer for a request than some of the servers.
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
    requests = [json.loads(line).encode() for line in sys.stdin]
    if len(argv) > 3:
        print(json.dumps(run_open_loop(port, clients, seconds, float(argv[3]), requests)))
    else:
        print(json.dumps(run_closed_loop(port, clients, seconds, requests)))
    return 0


class _Connection:
    """One client, and the request that it waits for."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.since = 0.0

    def send(self, request: bytes) -> None:
        self.received = b""
        self.since = time.perf_counter()
        self.socket.sendall(request)

    def status(self) -> int | None:
        """Read; return the status once the response is complete, 0 if the server hung up."""
        part = self.socket.recv(1 << 20)
        self.received += part
        if not part:
            return 0
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return None
        lower = head.lower()
        start = lower.find(b"content-length:")
        if start >= 0:
            complete = len(body) >= int(lower[start + 15 :].split(b"\r\n", 1)[0])
        else:
            complete = body.endswith(b"0\r\n\r\n")
        return int(head[9:12]) if complete else None


def run_closed_loop(
    port: int, clients: int, seconds: float, requests: list[bytes]
) -> dict[str, Any]:
    """Send for some seconds, each client one request at a time; wait for the last responses."""
    to_send, latencies, failed = cycle(requests), [], 0
    selector = selectors.DefaultSelector()
    started = time.perf_counter()
    for _ in range(clients):
        connection = _Connection(port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(next(to_send))
    open_ = clients
    while open_:
        for key, _ in selector.select():
            connection = key.data
            status = connection.status()
            if status is None:
                continue
            now = time.perf_counter()
            latencies.append(now - connection.since)
            failed += status != 200
            if status == 0:
                selector.unregister(connection.socket)
                open_ -= 1
            elif now - started < seconds:
                connection.send(next(to_send))
            else:
                selector.unregister(connection.socket)
                open_ -= 1
    return _summary(latencies, failed, time.perf_counter() - started)


def run_open_loop(
    port: int, clients: int, seconds: float, rate: float, requests: list[bytes]
) -> dict[str, Any]:
    """Send *rate* requests a second; one that is due while all clients wait is sent next."""
    to_send, failed = cycle(requests), 0
    spans: list[tuple[float, float]] = []
    selector = selectors.SelectSelector()  # epoll waits whole milliseconds
    idle = deque(_Connection(port) for _ in range(clients))
    for connection in idle:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    started, sent, total = time.perf_counter(), 0, int(seconds * rate)
    while len(spans) < total:
        due, now = started + sent / rate, time.perf_counter()
        if sent < total and idle and due <= now:
            connection = idle.popleft()
            connection.send(next(to_send))
            connection.since = due
            sent += 1
            continue
        for key, _ in selector.select(due - now if sent < total and idle else None):
            connection = key.data
            status = connection.status()
            if status is None:
                continue
            spans.append((connection.since, time.perf_counter()))
            failed += status != 200
            if status == 0:
                selector.unregister(connection.socket)
                connection = _Connection(port)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            idle.append(connection)
    latencies = [end - begin for begin, end in spans]
    return {**_summary(latencies, failed, time.perf_counter() - started), "spans": spans}


def _summary(latencies: list[float], failed: int, elapsed: float) -> dict[str, Any]:
    latencies = sorted(latencies)
    return {
        "requests": len(latencies),
        "failed": failed,
        "seconds": elapsed,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))],
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
