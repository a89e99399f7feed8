"""Engine and sessions of SQLAlchemy, with a time limit on every wait."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

import psycopg2
from psycopg2 import extensions
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.errors import Unavailable

# Raised when PostgreSQL cannot be reached or went away, by SQLAlchemy or psycopg2.
CONNECTION_ERRORS = (Unavailable, OperationalError, InterfaceError, psycopg2.OperationalError)
# What a request may wait for before its first statement: a free connection, a ping over it, a new
# connection instead. Together they stay below the 3 s in which the web promises an answer.
FREE_S, PING_S, CONNECT_S = 1.0, 0.5, 1.0
_wait_timeout_s: ContextVar[float] = ContextVar(
    "wait_timeout_s", default=10.0
)  # seconds of one wait
T = TypeVar("T")


def make_engine(
    database_url: str, *, pool_size: int = 5, max_overflow: int = 5, application: str = "ledger"
) -> Engine:
    """Make an engine whose errors never quote a person's data. Call it after any fork.

    At most *pool_size* + *max_overflow* connections are open; the wait for a free one is 1 s.
    Connecting takes at most 2 s. A dead peer is noticed within about 10 s, and the server ends a
    statement after ten minutes. A process that is to notice a server which is stopped, and whose
    machine still answers, calls `install_wait_timeout`.
    """
    engine = create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=FREE_S,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 2,
            "application_name": application,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "options": "-c timezone=UTC -c statement_timeout=600000 -c lock_timeout=30000",
        },
    )
    event.listen(engine, "do_connect", _connect)
    ping = engine.dialect.do_ping
    engine.dialect.do_ping = partial(_within, PING_S, ping)  # type: ignore[method-assign]
    return engine


def install_wait_timeout() -> None:
    """Apply `wait_timeout`, by default 10 s, to every wait for PostgreSQL in this process.

    A stopped server still acknowledges packets, so no time-out of TCP notices it. A connection
    whose wait timed out is closed. COPY cannot be used then, so workers do without; their jobs
    have a lease, and other workers take them over.
    """
    extensions.set_wait_callback(_wait)


@contextmanager
def wait_timeout(seconds: float) -> Iterator[None]:
    """Inside, limit the wait for a statement or a new connection."""
    token = _wait_timeout_s.set(seconds)
    try:
        yield
    finally:
        _wait_timeout_s.reset(token)


def _within(seconds: float, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    with wait_timeout(min(_wait_timeout_s.get(), seconds)):
        return call(*args, **kwargs)


def _connect(dialect: Any, _: Any, args: Any, kwargs: Any) -> Any:
    return _within(CONNECT_S, dialect.connect, *args, **kwargs)


def _wait(connection: extensions.connection) -> None:
    until = time.monotonic() + _wait_timeout_s.get()
    while (state := connection.poll()) != extensions.POLL_OK:
        reading = [connection] if state == extensions.POLL_READ else []
        writing = [connection] if state == extensions.POLL_WRITE else []
        left = until - time.monotonic()
        if left <= 0 or not any(select.select(reading, writing, [], left)):
            raise psycopg2.OperationalError("no answer in time")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Open a session with one transaction: committed at the end, or rolled back.

    Raises:
        Unavailable: PostgreSQL cannot be reached, went away, or found a conflict with another
            transaction; nothing was committed.
    """
    with (
        _map_connection_errors(),
        Session(engine, expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def read_only(engine: Engine) -> Iterator[Session]:
    """Open a read-only session in autocommit, which saves the round trips of BEGIN and COMMIT.

    Raises:
        Unavailable: PostgreSQL cannot be reached, or went away.
    """
    plain = engine.execution_options(isolation_level="AUTOCOMMIT")
    with _map_connection_errors(), Session(plain) as session:
        yield session


@contextmanager
def _map_connection_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        lost = isinstance(error.__cause__, extensions.TransactionRollbackError)
        message = "Others changed the same at once" if lost else "PostgreSQL does not answer"
        raise Unavailable(message, dependency="postgres") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable("PostgreSQL went away", dependency="postgres") from error
        raise
