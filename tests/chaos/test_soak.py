"""A long mixed load with a fault every few seconds: nothing leaks, and nothing is lost."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import NamedTuple

import psutil
import pytest
import redis
from sqlalchemy import text

from shared.jobs import store as job_store
from tests.chaos import report
from tests.chaos.report import random_for, times
from tests.chaos.test_servers import frozen, killed
from tests.chaos.world import World, web_process
from tests.support.waiting import wait_deliberately

pytestmark = [pytest.mark.system, pytest.mark.timeout(4_000)]
EVERY_S = times(5, 10)
AWAY_S = 1.0
FIRST_S = times(5, 10)  # until caches are full
GROWTH_MB, GROWTH_FILES, GROWTH_CONNECTIONS = 40, 20, 10


class Holds(NamedTuple):
    """What the web process and the worker's main process hold, and both servers of theirs."""

    memory_mb: float
    files: int
    connections: int  # of PostgreSQL and Redis


def measure_resources(world: World, *processes: psutil.Process) -> Holds:
    client = redis.Redis.from_url(world.redis.url)
    with world.engine.connect() as connection:
        sessions = connection.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        )
    return Holds(
        sum(it.memory_info().rss for it in processes) / 1e6,
        sum(it.num_fds() for it in processes),
        int(sessions or 0) + len(client.client_list()),
    )


def test_a_long_run_with_a_fault_every_few_seconds_leaks_and_loses_nothing(world: World) -> None:
    draw = random_for("soak")
    worker = world.stack.worker("features")
    world.stack.worker("training")
    world.done(world.ask())

    def deploy() -> None:
        world.registry.deploy(draw.choice(world.versions), by="chaos", why="soak")

    def redis_killed() -> None:
        with killed(world.redis):
            wait_deliberately(AWAY_S)

    def redis_frozen() -> None:
        with frozen(world.redis):
            wait_deliberately(AWAY_S)

    def postgres_killed() -> None:
        with killed(world.postgres):
            wait_deliberately(AWAY_S)

    def postgres_frozen() -> None:
        with frozen(world.postgres):
            wait_deliberately(AWAY_S)

    def child_killed() -> None:
        for child in psutil.Process(worker.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()

    faults = (deploy, redis_killed, redis_frozen, postgres_killed, postgres_frozen, child_killed)
    fault_of_all = f"a random fault every {EVERY_S} s"
    with world.scene(fault_of_all, attempts=job_store.MAX_ATTEMPTS, part=report.SOAK) as scene:
        began = time.monotonic()
        wait_deliberately(FIRST_S)
        web, main = web_process(world), psutil.Process(worker.pid)
        before = measure_resources(world, web, main)
        while time.monotonic() - began < report.SOAK_S:
            fault = draw.choice(faults)
            at = time.monotonic()
            fault()
            scene.injected()
            scene.recovered(world.done_anew())
            wait_deliberately(max(0.0, EVERY_S - (time.monotonic() - at)))
        if web_process(world).pid != web.pid:
            scene.line.violations.append("the web process ended")
        limits = Holds(GROWTH_MB, GROWTH_FILES, GROWTH_CONNECTIONS)
        for name, was, now, limit in zip(
            Holds._fields, before, measure_resources(world, web, main), limits, strict=True
        ):
            if now - was > limit:
                scene.line.violations.append(f"{name}: {was:.0f} at first, {now:.0f} in the end")
    scene.check()
