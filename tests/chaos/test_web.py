"""The web process is killed, stopped, reloaded and flooded: accepted requests are answered."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from shared.settings import Settings
from tests.chaos.load import Answer
from tests.chaos.report import times
from tests.chaos.world import CLIENTS, World, live, web_process
from tests.support.waiting import wait_until
from tests.system.stack import kill

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
STORM = 64
START_S = 60.0  # of the web process, on a busy machine
GRACE_S = 15.0
REPLACED_S = 30.0  # a process that is told to make way, after its last request


def test_a_killed_web_process_loses_only_the_requests_it_held(world: World) -> None:
    """Its parent starts another within seconds."""
    with world.scene("a web process killed") as scene:
        for _ in range(times(2, 20)):
            web_process(world).kill()
            scene.injected()
            began = time.monotonic()

            def answered(began: float = began) -> bool:
                return any(it.status == 200 for it in scene.load.seen_since(began + 0.05))

            scene.recovered(wait_until(answered, "another answers", 10))
        # Of each client the request under way, and those that found nobody at the door meanwhile.
        refused = [it for it in scene.load.answers if "refused" in str(it.body)]
        scene.lost = CLIENTS * scene.line.injections + len(refused)
    scene.check()


def test_requests_under_way_are_answered_before_the_web_process_ends(world: World) -> None:
    """TERM: it accepts no more requests, and answers those it has accepted, by its own log."""
    rows = json.dumps({"rows": [dict(row) for row in world.known.rows] * 60})
    for _ in range(times(1, 20)):
        before = count_predictions(world)
        with world.scene("TERM under load") as scene:
            with ThreadPoolExecutor(CLIENTS) as pool:
                begun = threading.Barrier(CLIENTS + 1)

                def batch(begun: threading.Barrier = begun) -> int:
                    connection = http.client.HTTPConnection("127.0.0.1", world.stack.port)
                    headers = {"Content-Type": "application/json"}
                    connection.request("GET", "/healthz")  # so the server has accepted it
                    connection.getresponse().read()
                    connection.request("POST", "/ml/v2/predict/batch", rows, headers)
                    begun.wait()
                    return connection.getresponse().status

                asked = [pool.submit(batch) for _ in range(CLIENTS)]
                begun.wait()
                web = world.stack.processes.pop(0)
                web.send_signal(signal.SIGTERM)
                scene.injected()
                results = [future.exception() or future.result() for future in asked]
            if results != [200] * CLIENTS:
                scene.line.violations.append(f"batches under way: {results}")
            web.wait(GRACE_S)
            scene.load.stop()
            # Who comes as the door closes finds nobody; nobody who was let in is sent away.
            scene.lost = sum(it.status is None for it in scene.load.answers)
            answered = len(scene.load.answers) - scene.lost
            if count_predictions(world) - before != answered:
                scene.line.violations.append(
                    f"{answered} of {count_predictions(world) - before} answered"
                )
            if cut := [it for it in scene.load.answers if it.status not in (200, None)]:
                scene.line.violations.append(f"answers while ending: {cut[:3]}")
        scene.check()
        world.stack.processes.insert(0, world.stack.web())
        world.stack.processes.pop()
        wait_until(live(world.stack), "a model is live")


def count_predictions(world: World) -> int:
    """How many predictions the web process has answered, by what it says itself."""
    return world.stack.log("web").count('"route":"/ml/v2/predict"')


def test_a_reload_under_load_answers_every_request(world: World) -> None:
    """HUP: a new process answers before the old one ends."""
    with world.scene("HUP under load", within_s=REPLACED_S) as scene:
        for _ in range(times(1, 10)):
            old = web_process(world)
            world.stack.processes[0].send_signal(signal.SIGHUP)
            scene.injected()
            scene.recovered(ended(old))
        if cut := [it for it in scene.load.answers if it.status not in (200, None)]:
            scene.line.violations.append(f"answers while reloading: {cut[:3]}")
    scene.check()


def ended(process: psutil.Process) -> float:
    return wait_until(lambda: not process.is_running(), "the old one has ended", REPLACED_S)


def test_many_clients_at_the_start_of_a_web_process_all_get_the_model(world: World) -> None:
    """Each web process loads it once."""
    processes = Settings.from_env(world.stack.env).web_processes
    with world.scene(f"{STORM} clients at the start of the process") as scene:
        for number in range(times(1, 10)):
            kill(world.stack.processes.pop(0), signal.SIGKILL)
            before = len(loads(world))
            world.stack.start("web", "-m", "web")
            world.stack.processes.insert(0, world.stack.processes.pop())
            scene.injected(STORM)
            gate = threading.Barrier(STORM)

            def ask(client: int, gate: threading.Barrier = gate, first: int = number) -> Answer:
                gate.wait()
                row = client % len(world.known.rows)
                began = time.monotonic()
                while time.monotonic() - began < START_S:
                    with suppress(OSError):  # nobody listens yet
                        reply = world.stack.call("POST", "/ml/v2/predict", world.known.rows[row])
                        at = time.monotonic()
                        name = -1 - client - STORM * first  # a connection of its own
                        return Answer(name, row, at, reply.status, reply.body, at - began)
                raise AssertionError(f"client {client} was not answered within {START_S:.0f} s")

            with ThreadPoolExecutor(STORM) as pool:
                results = list(pool.map(ask, range(STORM)))
            scene.load.answers += results
            if any(answer.status != 200 for answer in results):
                scene.line.violations.append(f"answers: {Counter(it.status for it in results)}")
            wait_until(lambda: len(loads(world)) >= before + processes, "each holds the model")  # noqa: B023
        if len(loads(world)) != processes * (1 + scene.line.injections // STORM):
            scene.line.violations.append(f"{len(loads(world))} loads by {processes} processes")
        # Of each client one request to each process that died, its parent too, and those that found
        # nobody at the door meanwhile.
        refused = [it for it in scene.load.answers if "refused" in str(it.body)]
        scene.lost = CLIENTS * (processes + 1) * times(1, 10) + len(refused)
    scene.check()


def loads(world: World) -> list[str]:
    """The log's lines on models that a web process has loaded."""
    lines = world.stack.log("web").splitlines()
    return [it for it in lines if '"event":"runtime.followed"' in it and '"loaded"' in it]
