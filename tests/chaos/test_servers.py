"""Redis and PostgreSQL die, freeze, fill up and come back; predictions go on all the while."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg2
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from local.servers.temporary import Server
from shared.jobs import store as job_store
from tests.chaos.half_open import Proxy
from tests.chaos.report import random_for, times
from tests.chaos.world import BACK_S, Scene, World
from tests.support.waiting import wait_deliberately, wait_until
from tests.system.stack import Reply

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
AWAY_S = 2.0  # how long a server is away
ANSWER_S = 2.0  # to a request for work while Redis is away or slow
ANSWER_WITHOUT_POSTGRES_S = (
    3.0  # to any request while PostgreSQL is away; shared.db.engine keeps it
)
SLOW_S = 0.2  # a message on its way, one way; a worker waits for a dozen of them a job
ROUND = 80  # requests that change the same rows at once


def stopped(server: Server) -> list[psutil.Process]:
    """Freeze a server with all its processes."""
    parent = psutil.Process(server.pid)
    every = [parent, *parent.children(recursive=True)]
    for process in every:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    return every


def resume(frozen: list[psutil.Process]) -> None:
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
        resume(every)


def test_jobs_requested_while_redis_is_killed_are_accepted_and_done(world: World) -> None:
    """Accepted in time, and done once Redis is back."""
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("Redis killed and restarted") as scene:
        for _ in range(times(1, 10)):
            with killed(world.redis):
                scene.injected()
                ask_without_redis(world)
                wait_deliberately(AWAY_S)
            scene.recovered(world.done_anew())
    scene.check()


def test_jobs_requested_while_redis_is_frozen_are_accepted_and_done(world: World) -> None:
    """Frozen: connections stay open, and nothing comes."""
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("Redis frozen and woken") as scene:
        for _ in range(times(1, 6)):
            with frozen(world.redis):
                scene.injected()
                ask_without_redis(world)
                wait_deliberately(AWAY_S)
            scene.recovered(world.done_anew())
    scene.check()


def ask_without_redis(world: World) -> None:
    began = time.monotonic()
    world.ask()
    assert time.monotonic() - began < ANSWER_S


def test_queued_jobs_are_done_after_redis_lost_its_messages(world: World) -> None:
    """Jobs are rows, so their messages are sent again."""
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
            resume(every)
            began = time.monotonic()
            for job_id in world.accepted[-5:]:
                world.done(job_id, BACK_S - (time.monotonic() - began))
            scene.recovered(time.monotonic() - began)
    scene.check()


def test_jobs_requested_while_redis_is_full_are_accepted_and_done(world: World) -> None:
    """Redis takes no message; the row waits until it does."""
    client = redis.Redis.from_url(world.redis.url)
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("Redis full") as scene:
        for _ in range(times(1, 6)):
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            scene.injected()
            try:
                ask_without_redis(world)
                wait_deliberately(AWAY_S)
            finally:
                client.config_set("maxmemory", 0)
            scene.recovered(world.done_anew())
    scene.check()


@pytest.fixture
def way(own_redis: Server) -> Iterator[Proxy]:
    """To Redis, for all processes of the scene."""
    proxy = Proxy(own_redis.port)
    yield proxy
    proxy.close()


@pytest.fixture
def world_behind(
    own_redis: Server, way: Proxy, make_world: Callable[[str], Iterator[World]]
) -> Iterator[World]:
    """A world whose Redis is at the other end of that way."""
    parts = urlsplit(own_redis.url)
    credentials = parts.netloc.rpartition("@")[0]
    yield from make_world(urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{way.port}")))


def test_jobs_are_done_after_connections_to_redis_died(way: Proxy, world_behind: World) -> None:
    """Half open: still connected, but nothing comes or goes. New connections work."""
    world = world_behind
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("connection to Redis half open") as scene:
        for _ in range(times(1, 6)):
            way.swallow.set()
            scene.injected()
            ask_without_redis(world)
            wait_deliberately(AWAY_S)
            way.swallow.clear()
            scene.recovered(world.done_anew())
    scene.check()


def test_a_slow_connection_to_redis_delays_no_answer(way: Proxy, world_behind: World) -> None:
    """Jobs are done later; requests for jobs and predictions do not wait for Redis."""
    world = world_behind
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene(f"connection to Redis {SLOW_S} s late each way") as scene:
        way.delay_s = SLOW_S
        for _ in range(times(2, 10)):
            scene.injected()
            ask_without_redis(world)
            scene.recovered(world.done(world.accepted[-1], BACK_S))
        way.delay_s = 0.0
        took = statistics.median(answer.took_s for answer in scene.load.answers)
        if took > SLOW_S / 2:
            scene.line.violations.append(f"a prediction took {took:.2f} s")
    scene.check()


class RepliesWithoutPostgres(NamedTuple):
    """What a service answers whose PostgreSQL is away."""

    suggestion: Reply
    job: Reply
    label: Reply


def ask_what_needs_postgres(world: World, txn_id: int) -> RepliesWithoutPostgres:
    """All at once: each waits for itself alone."""
    label = {"labels": [{"txn_id": txn_id, "label": "Groceries"}]}
    requests = (
        ("/ml/v2/suggest", {"transactions": [world.known.rows[0]]}),
        ("/ml/v2/features", {}),
        ("/ml/v2/labels", label),
    )
    with ThreadPoolExecutor(len(requests)) as pool:
        replies = RepliesWithoutPostgres(
            *pool.map(lambda it: world.stack.call("POST", *it), requests)
        )
    if replies.job.status == 202:
        world.accepted.append(replies.job.body["job_id"])
    return replies


def ask_without_postgres(world: World, scene: Scene, txn_id: int) -> None:
    """Nobody waits for long: what cannot be done is told, with a time to come again."""
    began = time.monotonic()
    replies = ask_what_needs_postgres(world, txn_id)
    took = time.monotonic() - began
    if took > ANSWER_WITHOUT_POSTGRES_S:
        scene.line.violations.append(
            f"an answer took {took:.1f} s, {ANSWER_WITHOUT_POSTGRES_S:.0f} s are promised"
        )
    if replies.suggestion.status != 200 or not replies.suggestion.body["degraded"]:
        scene.line.violations.append(f"a suggestion without PostgreSQL: {replies.suggestion}")
    for reply, expected in ((replies.job, 202), (replies.label, 200)):
        if reply.status == 503 and "Retry-After" in reply.headers:
            continue
        if reply.status != expected:
            scene.line.violations.append(f"without PostgreSQL: {reply.status} {reply.body}")


def wait_until_served_again(world: World, txn_id: int) -> float:
    """Seconds until all of that is served as ever, and a job asked for now has been done."""
    began = time.monotonic()
    world.done_anew()

    def as_ever() -> bool:
        wanted = {"transactions": [world.known.rows[0]]}
        if world.stack.call("POST", "/ml/v2/suggest", wanted).body.get("degraded", True):
            return False
        replies = ask_what_needs_postgres(world, txn_id)
        is_whole = replies.suggestion.status == 200 and not replies.suggestion.body["degraded"]
        return is_whole and (replies.job.status, replies.label.status) == (202, 200)

    wait_until(as_ever, "all is served as ever", BACK_S - (time.monotonic() - began))
    return time.monotonic() - began


def a_transaction(world: World) -> int:
    with world.engine.connect() as connection:
        return int(connection.scalar(text("SELECT min(id) FROM transactions")) or 0)


def test_requests_are_answered_while_postgres_is_killed_and_served_afterwards(world: World) -> None:
    txn_id = a_transaction(world)
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("PostgreSQL killed and restarted", attempts=job_store.MAX_ATTEMPTS) as scene:
        for _ in range(times(1, 10)):
            with killed(world.postgres):
                scene.injected()
                ask_without_postgres(world, scene, txn_id)
                wait_deliberately(AWAY_S)
            scene.recovered(wait_until_served_again(world, txn_id))
    scene.check()


def test_requests_are_answered_in_time_while_postgres_is_frozen(world: World) -> None:
    txn_id = a_transaction(world)
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("PostgreSQL frozen and woken", attempts=job_store.MAX_ATTEMPTS) as scene:
        for _ in range(times(1, 6)):
            with frozen(world.postgres):
                scene.injected()
                ask_without_postgres(world, scene, txn_id)
            scene.recovered(wait_until_served_again(world, txn_id))
    scene.check()


@contextmanager
def no_connection_left(world: World) -> Iterator[None]:
    """Every connection of the server is taken inside, those that the service had too."""
    held: list[psycopg2.extensions.connection] = []

    def taken() -> bool:
        with suppress(psycopg2.OperationalError):
            while True:
                held.append(psycopg2.connect(world.postgres.url))
                held[-1].autocommit = True
        with held[0].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [world.engine.url.database],
            )
            return cursor.rowcount == 0

    try:
        wait_until(taken, "no connection is left")
        yield
    finally:
        for connection in held:
            connection.close()


def test_requests_are_answered_while_postgres_has_no_connection_left(world: World) -> None:
    txn_id = a_transaction(world)
    world.stack.worker("features")
    world.done(world.ask())
    with world.scene("PostgreSQL out of connections", attempts=job_store.MAX_ATTEMPTS) as scene:
        for _ in range(times(1, 6)):
            with no_connection_left(world):
                scene.injected()
                ask_without_postgres(world, scene, txn_id)
                wait_deliberately(AWAY_S)
            scene.recovered(wait_until_served_again(world, txn_id))
    scene.check()


def test_concurrent_label_changes_are_stored_whole_or_refused(world: World) -> None:
    """Serialization failures are provoked: a caller who meets one is told to ask again."""
    draw = random_for("at once")
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
        for first in range(0, times(1, 10) * ROUND, ROUND):
            numbers = range(first, first + ROUND)
            with lock_labels(world, txn_ids):
                futures = {number: pool.submit(relabel, number) for number in numbers}
                wait_until(lambda: waiting_for_a_lock(world), "one of them waits")
            outcomes = {number: future.result() for number, future in futures.items()}
            refused = [why for why in outcomes.values() if why is not None]
            scene.injected(len(refused))
            scene.line.violations += [why for why in refused if "Others changed" not in why]
            with world.engine.connect() as connection:
                query = "SELECT DISTINCT label FROM transaction_labels WHERE txn_id = ANY(:ids)"
                left = {*connection.scalars(text(query), {"ids": txn_ids})}
            stored = {f"Toys {number}" for number, why in outcomes.items() if why is None} or {
                "Toys"
            }
            if len(left) != 1 or not left <= stored:
                scene.line.violations.append(f"{left} is left of {stored}")
            scene.recovered(world.done_anew())
    scene.check()


@contextmanager
def lock_labels(world: World, txn_ids: list[int]) -> Iterator[None]:
    """Who changes these labels inside waits, and finds in the end that another was first."""
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE transaction_labels SET label = 'Toys' WHERE txn_id = ANY(:ids)"),
            {"ids": txn_ids},
        )
        yield


def waiting_for_a_lock(world: World) -> bool:
    with world.engine.connect() as connection:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(connection.scalar(text(f"{waiting} AND datname = current_database()")))


def test_jobs_are_done_though_postgres_ends_sessions_at_random(world: World) -> None:
    """As a failover does: statements are cut off half-way."""
    draw = random_for("sessions")
    world.stack.worker("features")
    world.done(world.ask())
    sessions = "sessions of PostgreSQL ended at random"
    with world.scene(sessions, attempts=job_store.MAX_ATTEMPTS) as scene:
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
    scene.check()
