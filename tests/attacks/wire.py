"""Bytes to and from a server, as they are: what no client library would send."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import NamedTuple

WAIT_S = 3.0
_START = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


class RawResponse(NamedTuple):
    """What came back before the server closed, or nothing more came."""

    data: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """Of every answer, in order; a body that looks like one would count, and none does."""
        return [int(status) for status in _START.findall(self.data)]


def send(port: int, *parts: bytes, wait_s: float = WAIT_S, half_close: bool = False) -> RawResponse:
    """Send *parts* one after the other over one connection, and hear what comes back.

    Args:
        wait_s: so long after the last byte that came, nothing more is expected.
        half_close: say that no more will come, as `nc` does at the end of its input.
    """
    received, closed = b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        connection.settimeout(wait_s)
        with contextlib.suppress(TimeoutError):
            try:
                while got := connection.recv(65536):
                    received += got
                closed = True
            except ConnectionResetError:
                closed = True
    return RawResponse(received, closed)


def request(
    method: str = "POST",
    path: str = "/ml/v2/predict",
    *headers: str,
    body: bytes = b"",
    version: str = "HTTP/1.1",
    host: str = "Host: x",
) -> bytes:
    """A request of these lines and no others; nothing is added for the body."""
    lines = [f"{method} {path} {version}", *([host] if host else []), *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
