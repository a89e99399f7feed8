"""A long mixed load with a fault every few seconds: nothing grows, and nothing is lost."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil
import pytest

from tests.chaos import report
from tests.chaos.report import drawn
from tests.chaos.test_servers import frozen, killed
from tests.chaos.world import BACK_S, World, web_process
from tests.system.stack import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(4_000)]
EVERY_S = 10.0
AWAY_S = 1.0
FIRST_S = 10.0  # caches fill
GROWTH_MB, GROWTH_FILES = 40, 20


def test_a_long_run_with_a_fault_every_ten_seconds(world: World) -> None:
    draw = drawn("soak")
    pause = threading.Event()
    worker = world.stack.worker("features")
    world.stack.worker("training")
    world.done(world.ask())

    def deploy() -> None:
        world.registry.deploy(draw.choice(world.versions), by="chaos", why="soak")

    def redis_killed() -> None:
        with killed(world.redis):
            pause.wait(AWAY_S)

    def redis_frozen() -> None:
        with frozen(world.redis):
            pause.wait(AWAY_S)

    def postgres_killed() -> None:
        with killed(world.postgres):
            pause.wait(AWAY_S)

    def postgres_frozen() -> None:
        with frozen(world.postgres):
            pause.wait(AWAY_S)

    def child_killed() -> None:
        for child in psutil.Process(worker.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()

    faults = (deploy, redis_killed, redis_frozen, postgres_killed, postgres_frozen, child_killed)
    with world.scene(f"a random fault every {EVERY_S:.0f} s") as scene:
        began = time.monotonic()
        until(lambda: time.monotonic() - began > FIRST_S, "caches are full", FIRST_S + 5)
        web = web_process(world)
        memory, files = web.memory_info().rss, web.num_fds()
        while time.monotonic() - began < report.SOAK_S:
            fault = draw.choice(faults)
            at = time.monotonic()
            fault()
            scene.injected()
            scene.recovered(world.done_anew(3 * BACK_S))
            pause.wait(max(0.0, EVERY_S - (time.monotonic() - at)))
        if web_process(world).pid != web.pid:
            scene.line.violations.append("the web process ended")
        grown = (web.memory_info().rss - memory) / 1e6
        if grown > GROWTH_MB:
            scene.line.violations.append(f"memory grew by {grown:.0f} MB")
        if web.num_fds() - files > GROWTH_FILES:
            scene.line.violations.append(f"open files grew from {files} to {web.num_fds()}")
