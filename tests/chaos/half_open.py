"""A TCP proxy that is slow, or whose connections go dead: open, and nothing comes or goes.

Dead as when a machine vanishes, or a router forgets: neither end is told. What was connected stays
dead for ever; who connects anew afterwards is served.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress


class Proxy:
    """Listens on a port of its own and passes on what comes, `delay_s` later each way.

    While `swallow` is set, nothing.
    """

    def __init__(self, port: int) -> None:
        self.swallow = threading.Event()
        self.delay_s = 0.0
        self._to, self._over = port, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._other: dict[socket.socket, socket.socket] = {}
        self._chosen = selectors.DefaultSelector()
        # What has come and is not passed on yet: when it is due, from where; b"" is the end.
        self._under_way: deque[tuple[float, socket.socket, bytes]] = deque()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        dead: set[socket.socket] = set()
        self._chosen.register(self._listener, selectors.EVENT_READ)
        while not self._over.is_set():
            if self.swallow.is_set():
                dead.update(self._other)
            for key, _ in self._chosen.select(self._pause()):
                here = key.fileobj
                assert isinstance(here, socket.socket)
                if here is self._listener:
                    self._connect()
                    continue
                data = b""
                with suppress(OSError):
                    data = here.recv(65_536)
                if not data:
                    self._chosen.unregister(here)
                if here not in dead:
                    self._under_way.append((time.monotonic() + self.delay_s, here, data))
            while self._under_way and self._under_way[0][0] <= time.monotonic():
                _, here, data = self._under_way.popleft()
                if here not in dead:
                    self._pass_on(here, data)
        for end in (*self._other, self._listener):
            end.close()

    def _pause(self) -> float:
        if not self._under_way:
            return 0.05
        return min(0.05, max(0.0, self._under_way[0][0] - time.monotonic()))

    def _connect(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._to))
        self._other[client], self._other[server] = server, client
        for end in (client, server):
            self._chosen.register(end, selectors.EVENT_READ)

    def _pass_on(self, here: socket.socket, data: bytes) -> None:
        with suppress(OSError):
            if data:
                self._other[here].sendall(data)
                return
        for end in (here, self._other[here]):
            with suppress(KeyError, ValueError):
                self._chosen.unregister(end)
            end.close()
