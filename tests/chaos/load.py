"""Clients that request predictions over real connections, and record every response."""

from __future__ import annotations

import http.client
import json
import select
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.chaos.report import random_for

Body = Mapping[str, Any]
TIMEOUT_S = 10.0
PACE_S = 0.005  # between two requests of a client: the machine has other work to do, too


class Answer(NamedTuple):
    """The outcome of one request."""

    connection: int  # a process answers all requests of a connection, in their order
    row: int  # which of the rows asked about
    at: float  # monotonic seconds
    status: int | None
    body: Any  # or the error, as text
    took_s: float


@dataclass(frozen=True, slots=True)
class ExpectedAnswers:
    """The expected label and confidence of each version for each row."""

    rows: Sequence[Body]
    says: Mapping[str, Sequence[tuple[str, float]]]  # by run_id, in the order of rows


class Load:
    """Clients in threads of this process, from `start` to `stop`."""

    def __init__(self, port: int, known: ExpectedAnswers, clients: int) -> None:
        self.answers: list[Answer] = []
        self._port, self._known = port, known
        self._over = threading.Event()
        self._connections = iter(range(1_000_000))
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, and wait for the requests under way."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def seen_since(self, at: float) -> list[Answer]:
        return [answer for answer in self.answers if answer.at >= at]

    def all_at(self, sequence: int, since: float) -> bool:
        """Whether the newest answers of as many connections as there are clients are of this
        deploy, or of a later one."""
        newest = {it.connection: it for it in self.seen_since(since) if it.status == 200}
        reached = [it.body["model"]["sequence"] >= sequence for it in newest.values()]
        return len(reached) >= len(self._threads) and all(reached)

    def _ask(self, number: int) -> None:
        draw = random_for(f"client {number}")
        connection, name = self._connected()
        while not self._over.wait(PACE_S):
            row = draw.randrange(len(self._known.rows))
            if _is_ended(connection):
                connection.close()
                connection, name = self._connected()
            began = time.monotonic()
            try:
                connection.request(
                    "POST", "/ml/v2/predict", json.dumps(self._known.rows[row]),
                    {"Content-Type": "application/json"},
                )  # fmt: skip
                reply = connection.getresponse()
                status, body = reply.status, json.loads(reply.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                at = time.monotonic()
                self.answers.append(Answer(name, row, at, None, repr(error), at - began))
                connection.close()
                connection, name = self._connected()
                continue
            at = time.monotonic()
            self.answers.append(Answer(name, row, at, status, body, at - began))
        connection.close()

    def _connected(self) -> tuple[http.client.HTTPConnection, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        return connection, next(self._connections)


def _is_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has ended an idle connection, as any client looks before it asks again."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
