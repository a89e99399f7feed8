"""Engine and sessions: every wait ends, and a lost connection is an error of our own."""

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
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.errors import Unavailable

# How it shows that PostgreSQL cannot be reached or went away, through SQLAlchemy or below it.
CONNECTION_ERRORS = (Unavailable, OperationalError, InterfaceError, psycopg2.OperationalError)
# What a request waits for before its first statement, in seconds: a free connection, a sign of life
# from it, a new one instead. Together they keep the web's promise of an answer within 3 s.
FREE_S, PING_S, CONNECT_S = 1.0, 0.5, 1.0
_wait_timeout_s: ContextVar[float] = ContextVar("patience", default=10.0)  # seconds of one wait
T = TypeVar("T")


def make_engine(
    database_url: str, *, pool_size: int = 5, max_overflow: int = 5, application: str = "ledger"
) -> Engine:
    """An engine whose every wait ends, and whose errors never quote a person's data.

    At most *pool_size* and *spare* connections are open at once; who finds none free waits 1 s.

    Connecting takes at most 2 s, after `end_every_wait` 1 s; a frozen peer is noticed within about
    10 s, a statement that runs for ten minutes is ended by the server. Build it after any fork.
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
    # Whether it is there at all is known sooner than the answer to a long question.
    event.listen(engine, "do_connect", _connected)
    ping = engine.dialect.do_ping
    engine.dialect.do_ping = partial(_within, PING_S, ping)  # type: ignore[method-assign]
    return engine


def install_wait_timeout() -> None:
    """Have this process wait for PostgreSQL no longer than `patience` allows, whatever is silent.

    A server that is stopped, not gone, still acknowledges what is sent to it, so no time-out of TCP
    notices. A connection that was waited for too long is closed. COPY cannot be used from then on.
    """
    extensions.set_wait_callback(_wait)


@contextmanager
def wait_timeout(seconds: float) -> Iterator[None]:
    """Inside, a statement or a new connection is waited for so long at most."""
    token = _wait_timeout_s.set(seconds)
    try:
        yield
    finally:
        _wait_timeout_s.reset(token)


def _within(seconds: float, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    with wait_timeout(min(_wait_timeout_s.get(), seconds)):
        return call(*args, **kwargs)


def _connected(dialect: Any, _: Any, args: Any, kwargs: Any) -> Any:
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
    """One session, one transaction: committed at the end, or nothing of it happened.

    Raises:
        Unavailable: PostgreSQL cannot be reached, went away, or had to choose whose change of the
            same rows counts; nothing was committed.
    """
    with (
        _map_connection_errors(),
        Session(engine, expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def read_only(engine: Engine) -> Iterator[Session]:
    """One session that changes nothing, without a transaction: two ways to the server less.

    As in any transaction here, each statement sees what is committed when it begins.

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
        told = "Others changed the same at once" if lost else "PostgreSQL does not answer"
        raise Unavailable(told, dependency="postgres") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable("PostgreSQL went away", dependency="postgres") from error
        raise


def ping(connection: Connection) -> None:
    """Ask the server for one row."""
    connection.execute(text("SELECT 1"))
