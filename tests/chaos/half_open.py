"""A way to a server on which connections go dead: they stay open, and nothing comes or goes.

As when a machine vanishes, or a router forgets: neither end is told. What was connected stays dead
for ever; who connects anew afterwards is served.
"""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress


class Proxy:
    """Listens on a port of its own and passes on what comes; while `swallow` is set, nothing."""

    def __init__(self, port: int) -> None:
        self.swallow = threading.Event()
        self._to, self._over = port, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        chosen, other = selectors.DefaultSelector(), dict[socket.socket, socket.socket]()
        dead: set[socket.socket] = set()
        chosen.register(self._listener, selectors.EVENT_READ)
        while not self._over.is_set():
            if self.swallow.is_set():
                dead.update(other)
            for key, _ in chosen.select(0.05):
                here = key.fileobj
                assert isinstance(here, socket.socket)
                if here is self._listener:
                    client, _ = here.accept()
                    server = socket.create_connection(("127.0.0.1", self._to))
                    other[client], other[server] = server, client
                    for end in (client, server):
                        chosen.register(end, selectors.EVENT_READ)
                    continue
                data = b""
                with suppress(OSError):
                    data = here.recv(65_536)
                if here in dead:
                    if not data:
                        chosen.unregister(here)
                    continue
                with suppress(OSError):
                    if data:
                        other[here].sendall(data)
                        continue
                for end in (here, other[here]):
                    with suppress(KeyError, ValueError):
                        chosen.unregister(end)
                    end.close()
        for end in (*other, self._listener):
            end.close()
