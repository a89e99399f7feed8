"""Redis and PostgreSQL die, freeze, fill up and come back: predictions know nothing of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg2
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from local.servers import Server
from shared import jobs
from tests.chaos.half_open import Proxy
from tests.chaos.report import IS_FULL, drawn, times
from tests.chaos.world import BACK_S, World

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
AWAY_S = 2.0  # how long a server is away
ANSWER_S = 2.0  # to a request for training while Redis is away


def stopped(server: Server) -> list[psutil.Process]:
    """Freeze a server with all its processes."""
    parent = psutil.Process(server.pid)
    every = [parent, *parent.children(recursive=True)]
    for process in every:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    return every


def woken(frozen: list[psutil.Process]) -> None:
    for process in frozen:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """Gone as by a crash, inside; back afterwards, with its data."""
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Connections stay open inside, and nothing ever comes."""
    every = stopped(server)
    try:
        yield
    finally:
        woken(every)


def test_redis_may_be_killed_at_any_moment(world: World) -> None:
    """What is asked for meanwhile is accepted in time, kept, and done."""
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("Redis killed and restarted") as scene:
        for _ in range(times(2, 10)):
            with killed(world.redis):
                scene.injected()
                asked_while_away(world)
                threading.Event().wait(AWAY_S)
            scene.recovered(world.done_anew())


def test_redis_may_freeze(world: World) -> None:
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("Redis frozen and woken") as scene:
        for _ in range(times(1, 6)):
            with frozen(world.redis):
                scene.injected()
                asked_while_away(world)
                threading.Event().wait(AWAY_S)
            scene.recovered(world.done_anew())


def asked_while_away(world: World) -> None:
    began = time.monotonic()
    world.ask()
    assert time.monotonic() - began < ANSWER_S


def test_redis_may_come_back_empty(world: World) -> None:
    """The messages are gone; the rows are not."""
    client = redis.Redis.from_url(world.redis.url)
    worker = psutil.Process(world.stack.worker("features").pid)
    world.done(world.ask())
    with world.scene("Redis emptied with jobs queued") as scene:
        for _ in range(times(1, 6)):
            every = [worker, *worker.children(recursive=True)]
            for process in every:
                process.suspend()
            for _ in range(5):
                world.ask()
            client.flushall()
            scene.injected()
            woken(every)
            began = time.monotonic()
            for job_id in world.accepted[-5:]:
                world.done(job_id, BACK_S - (time.monotonic() - began))
            scene.recovered(time.monotonic() - began)


def test_redis_may_be_full(world: World) -> None:
    """It takes no message; the row waits until it does."""
    client = redis.Redis.from_url(world.redis.url)
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("Redis full") as scene:
        for _ in range(times(1, 6)):
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            scene.injected()
            try:
                asked_while_away(world)
                threading.Event().wait(AWAY_S)
            finally:
                client.config_set("maxmemory", 0)
            scene.recovered(world.done_anew())


@pytest.mark.skipif(not IS_FULL, reason="takes long; make chaos")
def test_the_way_to_redis_may_swallow_everything(
    own_redis: Server, world_behind: Callable[[str], Iterator[World]]
) -> None:
    """Half-open: connected, and nothing comes or goes; then it is well again."""
    proxy = Proxy(own_redis.port)
    parts = urlsplit(own_redis.url)
    credentials = parts.netloc.rpartition("@")[0]
    behind = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{proxy.port}"))
    worlds = world_behind(behind)
    try:
        world = next(worlds)
        world.stack.worker("features")
        world.done(world.ask())
        with world.scene("connection to Redis half open") as scene:
            for _ in range(times(1, 6)):
                proxy.swallow.set()
                scene.injected()
                asked_while_away(world)
                threading.Event().wait(AWAY_S)
                proxy.swallow.clear()
                scene.recovered(world.done_anew())
    finally:
        worlds.close()  # type: ignore[attr-defined]  # it is a generator
        proxy.close()


def test_postgres_may_be_killed_at_any_moment(world: World) -> None:
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("PostgreSQL killed and restarted", attempts=jobs.MAX_ATTEMPTS) as scene:
        for _ in range(times(1, 10)):
            with killed(world.postgres):
                scene.injected()
                assert world.stack.call("POST", "/ml/v2/features", {}).status == 503
                threading.Event().wait(AWAY_S)
            scene.recovered(world.done_anew())


def test_postgres_may_freeze(world: World) -> None:
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("PostgreSQL frozen and woken", attempts=jobs.MAX_ATTEMPTS) as scene:
        for _ in range(times(1, 6)):
            with frozen(world.postgres):
                scene.injected()
                threading.Event().wait(AWAY_S)
            scene.recovered(world.done_anew())


def test_postgres_may_have_no_connection_left(world: World) -> None:
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("PostgreSQL out of connections", attempts=jobs.MAX_ATTEMPTS) as scene:
        for _ in range(times(1, 6)):
            held = []
            with suppress(psycopg2.OperationalError):
                while True:
                    held.append(psycopg2.connect(world.postgres.url))
            scene.injected()
            assert len(held) > 10
            threading.Event().wait(AWAY_S)
            for connection in held:
                connection.close()
            scene.recovered(world.done_anew())


def test_postgres_may_refuse_what_happens_at_once(world: World) -> None:
    """Serialization failures of its own making: who meets one is told to ask again."""
    draw = drawn("at once")
    with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = connection.scalar(text("SELECT current_database()"))
        level = "SET default_transaction_isolation = serializable"
        connection.execute(text(f"ALTER DATABASE {name} {level}"))
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        txn_ids = list(connection.scalars(text("SELECT id FROM transactions ORDER BY id LIMIT 20")))
    world.stack.worker("features")
    world.done_anew()

    def relabel(number: int) -> str | None:
        """All of them, in any order, to the same; None, or why not."""
        order = random.Random(f"{draw_from} {number}").sample(txn_ids, len(txn_ids))
        labels = [{"txn_id": txn_id, "label": f"Toys {number}"} for txn_id in order]
        reply = world.stack.call("POST", "/ml/v2/labels", {"labels": labels})
        return None if reply.status == 200 else f"{reply.status} {reply.body}"

    draw_from = draw.random()
    with world.scene("serialization failures") as scene, ThreadPoolExecutor(8) as pool:
        for first in range(0, times(80, 800), 80):
            numbers = range(first, first + 80)
            told = dict(zip(numbers, pool.map(relabel, numbers), strict=True))
            refused = [why for why in told.values() if why is not None]
            scene.injected(len(refused))
            scene.line.violations += [why for why in refused if "Others changed" not in why]
            with world.engine.connect() as connection:
                said = "SELECT DISTINCT label FROM transaction_labels WHERE txn_id = ANY(:ids)"
                left = {*connection.scalars(text(said), {"ids": txn_ids})}
            kept = {f"Toys {number}" for number, why in told.items() if why is None}
            if len(left) != 1 or not left <= kept:
                scene.line.violations.append(f"{left} is left of {kept}")
            scene.recovered(world.done_anew())


def test_postgres_may_end_any_session_in_the_middle(world: World) -> None:
    """As a failover would: the statement is gone."""
    draw = drawn("sessions")
    world.stack.worker("features")
    world.done(world.ask())
    sessions = "sessions of PostgreSQL ended at random"
    with world.scene(sessions, attempts=jobs.MAX_ATTEMPTS) as scene:
        for _ in range(times(5, 60)):
            with suppress(OSError, AssertionError):
                world.ask()
            with suppress(DBAPIError), world.engine.connect() as connection:
                ids = list(
                    connection.scalars(
                        text(
                            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                            "AND pid <> pg_backend_pid()"
                        )
                    )
                )
                for pid in draw.sample(ids, min(2, len(ids))):
                    connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
                    scene.injected()
        scene.recovered(world.done_anew())
