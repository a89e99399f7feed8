"""Workers die, freeze and get messages twice: each accepted job is done, and ends once."""

from __future__ import annotations

import datetime as dt
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from shared.jobs import broker
from shared.jobs import requests as job_requests
from shared.jobs import store as job_store
from shared.jobs.publisher import JobPublisher
from tests.chaos.report import random_for, times
from tests.chaos.world import RESUMED_S, World
from tests.support.factories import add_transactions
from tests.support.waiting import wait_deliberately, wait_until
from tests.system.stack import kill
from tests.system.test_faults import trainer_of, training
from worker.features import build as feature_build

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
MANY = 2_000  # labels, so that training takes some seconds
TOO_MANY = 30_000  # labels: more than the least memory that may be set is enough for
LEAST_MB = 640
ALL_AT_ONCE = 10
FEW = 1  # clients beside a training, which has the same two cores


def add_labels(world: World, count: int = MANY) -> None:
    """Enough labels that a training run can be met in its middle."""
    add_transactions(world.engine, count, labelled=count, seed=2)
    feature_build.build_pending(world.engine, feature_build.Scope())


def test_a_job_of_a_killed_worker_is_done_by_another(world: World) -> None:
    """The training process of the dead worker ends with it."""
    add_labels(world)
    fault = "worker killed in the middle of training"
    with world.scene(fault, FEW, within_s=RESUMED_S, attempts=2) as scene:
        for number in range(times(1, 5)):
            first = world.stack.worker("training", f"first{number}")
            job_id = world.ask("train")
            trainer = training(world.stack, first, job_id)
            kill(first, signal.SIGKILL)
            scene.injected()
            second = world.stack.worker("training", f"second{number}")
            scene.recovered(wait_for_takeover(world, job_id))
            if trainer.is_running() and trainer.status() != psutil.STATUS_ZOMBIE:
                scene.line.violations.append("the training of the dead worker goes on")
            world.done(job_id)
            kill(second, signal.SIGKILL)
    scene.check()


def wait_for_takeover(world: World, job_id: str) -> float:
    """Seconds until another worker has begun with the job."""
    return wait_until(
        lambda: world.stack.job(job_id)["attempt"] == 2, "another takes it over", RESUMED_S
    )


def test_a_worker_that_was_frozen_past_its_lease_does_not_end_the_job(world: World) -> None:
    """Another worker has taken the job over meanwhile."""
    add_labels(world)
    fault = "worker frozen past its lease, then woken"
    with world.scene(fault, FEW, within_s=RESUMED_S, attempts=2) as scene:
        for number in range(times(1, 3)):
            first = world.stack.worker("training", f"frozen{number}")
            job_id = world.ask("train")
            trainer = training(world.stack, first, job_id)
            frozen = [trainer, *psutil.Process(first.pid).children(recursive=True)]
            for process in (psutil.Process(first.pid), *frozen):
                process.suspend()
            scene.injected()
            second = world.stack.worker("training", f"waking{number}")
            scene.recovered(wait_for_takeover(world, job_id))
            for process in (psutil.Process(first.pid), *frozen):
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            wait_until(lambda: not trainer.is_running(), "the first one's training ends", 30)  # noqa: B023
            world.done(job_id)
            for process in (first, second):
                kill(process, signal.SIGKILL)
    scene.check()


def test_a_training_whose_process_keeps_dying_fails_after_its_last_attempt(world: World) -> None:
    """The worker lives, and takes the next job."""
    add_labels(world)
    worker = world.stack.worker("training,features")
    fault = "training process killed, three times over"
    with world.scene(fault, FEW, attempts=job_store.MAX_ATTEMPTS) as scene:
        job_id = world.ask("train")
        world.meant[job_id] = "failed"
        for attempt in range(1, job_store.MAX_ATTEMPTS + 1):
            wait_until(lambda: world.stack.job(job_id)["attempt"] == attempt, "it begins")  # noqa: B023
            wait_until(lambda: trainer_of(worker) is not None, "the process is there")
            found = trainer_of(worker)
            assert found is not None
            found.kill()
            scene.injected()
        why = world.stack.ended(job_id)["error"]
        if not why or why["code"] != "worker_lost":
            scene.line.violations.append(f"a poisoned job ended for {why}")
        scene.recovered(world.done(world.ask()))
    scene.check()


def test_a_training_that_runs_out_of_memory_fails_for_that_reason(world: World) -> None:
    """It is not tried again, as it would end the same; the same worker does the next job."""
    add_labels(world, TOO_MANY)
    world.stack.env["ML_TRAIN_MEMORY_MB"] = str(LEAST_MB)
    world.stack.worker("training,features")
    with world.scene("out of memory in training", FEW) as scene:
        for _ in range(times(1, 5)):
            job_id = world.ask("train")
            world.meant[job_id] = "failed"
            why = world.stack.ended(job_id)["error"]
            if not why or why["code"] != "out_of_memory":
                scene.line.violations.append(f"it ended for {why}")
            scene.injected()
            scene.recovered(world.done(world.ask()))
    scene.check()


def test_a_job_whose_message_comes_many_times_runs_once(world: World) -> None:
    for number in range(2):
        world.stack.worker("features", f"features{number}")
    connection = broker.celery.connection_for_write(world.redis.url)
    with connection, world.scene("a message delivered five times to two workers") as scene:
        for _ in range(times(3, 30)):
            job_id = world.ask()
            for _ in range(5):
                broker.celery.send_task(
                    broker.RUN_JOB, args=[job_id], queue="features", connection=connection
                )
                scene.injected()
            world.done(job_id)
            if world.stack.job(job_id)["attempt"] != 1:
                scene.line.violations.append(f"job {job_id} ran more than once")
    scene.check()


def test_concurrent_requests_for_training_get_the_same_one_job(world: World) -> None:
    world.stack.worker("training")
    with world.scene("ten requests for training at once", FEW) as scene:
        for _ in range(times(1, 20)):
            gate = threading.Barrier(ALL_AT_ONCE)

            def ask(_: int, gate: threading.Barrier = gate) -> tuple[int, str]:
                gate.wait()
                reply = world.stack.call("POST", "/ml/v2/train", {"deploy": "never"})
                return reply.status, reply.body["job_id"]

            with ThreadPoolExecutor(ALL_AT_ONCE) as pool:
                results = list(pool.map(ask, range(ALL_AT_ONCE)))
            scene.injected(ALL_AT_ONCE)
            accepted = [job_id for status, job_id in results if status == 202]
            if len(accepted) != 1 or {job_id for _, job_id in results} != set(accepted):
                scene.line.violations.append(f"accepted: {accepted}, results: {results}")
            world.accepted += accepted
            world.stack.ended(accepted[0])
    scene.check()


def test_two_beats_start_one_run_a_night(world: World) -> None:
    """Every night of a year, among them the days on which clocks change; ticks come twice and in
    any order."""
    nights = [dt.date(2026, 1, 1) + dt.timedelta(days=day) for day in range(times(30, 365))]
    with world.scene("every night's tick twice, from two beats") as scene:
        messenger = JobPublisher(world.engine)
        ticks = [night for night in nights for _ in range(2)]
        random_for("ticks").shuffle(ticks)
        runs = [
            job_requests.request_nightly(world.engine, messenger, night=night.isoformat())
            for night in ticks
        ]
        messenger.close()
        scene.injected(len(ticks))
        if sum(run is not None for run in runs) != len(nights):
            scene.line.violations.append(f"{len(runs)} runs of {len(nights)} nights")
        for run in filter(None, runs):
            world.accepted.append(run.id)
            world.meant[run.id] = "cancelled"
            world.stack.call("DELETE", f"/ml/v2/jobs/{run.id}")
    scene.check()


def test_frozen_processes_lose_no_job(world: World) -> None:
    """The web process stops for a while, as a laptop's lid closes; then all goes on."""
    with world.scene("web process frozen and woken") as scene:
        web = world.stack.processes[0]
        group = [psutil.Process(web.pid), *psutil.Process(web.pid).children(recursive=True)]
        for _ in range(times(2, 10)):
            for process in group:
                process.suspend()
            scene.injected()
            wait_deliberately(1.0)
            began = time.monotonic()
            for process in group:
                process.resume()
            wait_until(lambda: bool(scene.load.seen_since(began)), "it answers again")  # noqa: B023
            scene.recovered(time.monotonic() - began)
    scene.check()
