"""A whole service of real processes with two different versions, and the scenes that use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from local.servers.temporary import Server
from shared.features.extract import RawTransaction, features_of
from shared.model.classifier import Model
from shared.registry.store import Registry
from tests.chaos import history, report
from tests.chaos.load import ExpectedAnswers, Load
from tests.support.factories import SHOPS, add_transactions
from tests.support.waiting import wait_until
from tests.system.stack import Stack
from worker.features import build as feature_build
from worker.training import dataset, fit

CLIENTS = 4
BACK_S = 10.0  # Redis and PostgreSQL back to normal service
RESUMED_S = 30.0  # the work of a dead worker


@dataclass(slots=True)
class World:
    """One scene's service."""

    stack: Stack
    engine: Engine
    postgres: Server
    redis: Server
    registry: Registry
    known: ExpectedAnswers
    files: dict[str, dict[str, bytes]]  # of both versions, by run_id
    accepted: list[str] = field(default_factory=list)  # jobs
    meant: dict[str, str] = field(default_factory=dict)  # how those end that must not succeed
    unchecked: list[Scene] = field(default_factory=list)

    @property
    def versions(self) -> list[str]:
        return list(self.files)

    def ask(self, kind: str = "features") -> str:
        """Request a job; return its id. A training run does not deploy."""
        body = {"deploy": "never"} if kind == "train" else {}
        reply = self.stack.call("POST", f"/ml/v2/{kind}", body)
        assert reply.status == 202, reply.body
        self.accepted.append(reply.body["job_id"])
        return str(reply.body["job_id"])

    def done(self, job_id: str, within_s: float = 60) -> float:
        """Seconds until this job has succeeded.

        Raises:
            AssertionError: it has ended otherwise, or not yet.
        """

        def succeeded() -> bool:
            with suppress(OSError, KeyError):
                job = self.stack.job(job_id)
                assert job["state"] not in ("failed", "cancelled"), job
                return bool(job["state"] == "succeeded")
            return False

        return wait_until(succeeded, f"job {job_id} succeeds", within_s)

    def done_anew(self, within_s: float = BACK_S) -> float:
        """Request a job, again if refused, until it has succeeded; return the seconds."""
        began = time.monotonic()

        def accepted() -> bool:
            with suppress(OSError, AssertionError):
                self.ask()
                return True
            return False

        wait_until(accepted, "a job is accepted", within_s)
        self.done(self.accepted[-1], within_s - (time.monotonic() - began))
        return time.monotonic() - began

    @contextmanager
    def scene(
        self,
        fault: str,
        clients: int = CLIENTS,
        *,
        within_s: float = BACK_S,
        attempts: int = 1,
        part: str = report.ALL,
    ) -> Iterator[Scene]:
        """Predictions go on inside. Call `check` of the scene after the block.

        Args:
            within_s: each recovery must have taken no longer.
            attempts: how often a job may have been tried.
        """
        load = Load(self.stack.port, self.known, clients)
        scene = Scene(self, report.Line(fault, part), load, within_s, attempts)
        load.start()
        try:
            wait_until(lambda: len(load.answers) > clients, "predictions are answered")
            yield scene
        except BaseException as error:
            scene.line.violations.append(f"broken off: {error!r}")
            report.LINES.append(scene.line)
            raise
        finally:
            load.stop()
            scene.line.answers = len(load.answers)
        self.unchecked.append(scene)

    def settled(self, within_s: float = 60) -> dict[str, dict[str, Any]]:
        """The accepted jobs as the API shows them, once all have ended or the time is over."""
        jobs: dict[str, dict[str, Any]] = {}

        def ended() -> bool:
            for job_id in self.accepted:
                if job_id not in jobs or jobs[job_id]["state"] not in history.TERMINAL:
                    with suppress(OSError):
                        reply = self.stack.call("GET", f"/ml/v2/jobs/{job_id}")
                        if reply.status == 200:
                            jobs[job_id] = reply.body
            return all(jobs.get(it, {}).get("state") in history.TERMINAL for it in self.accepted)

        with suppress(AssertionError):
            wait_until(ended, "all jobs have ended", within_s)
        return jobs

    def ends(self) -> dict[str, list[str]]:
        """The final states of every job, in order, as a trigger recorded them."""
        ends: dict[str, list[str]] = {}
        with self.engine.connect() as connection:
            noted = connection.execute(text("SELECT job_id, state FROM job_ends ORDER BY number"))
            for job_id, state in noted:
                ends.setdefault(job_id, []).append(state)
        return ends


def check_line(line: report.Line, within_s: float = BACK_S) -> None:
    """Add a scene's result to the report, and fail if a promise was broken.

    Raises:
        AssertionError: a promise was broken, or nothing was tried.
    """
    line.violations += history.of_faults(line.injections, line.recovered_s, within_s)
    report.LINES.append(line)
    assert line.violations == [], f"CHAOS_SEED={report.SEED}: {line.violations[:5]}"


@dataclass(slots=True, eq=False)
class Scene:
    """One fault under load; `lost` requests may get no answer, as their process was killed."""

    world: World
    line: report.Line
    load: Load
    within_s: float
    attempts: int
    lost: int = 0

    def injected(self, times: int = 1) -> None:
        self.line.injections += times

    def recovered(self, seconds: float) -> None:
        self.line.recovered_s.append(seconds)

    def check(self) -> None:
        """Compare every answer, deployment and job with what is promised.

        Raises:
            AssertionError: a promise was broken, or nothing was tried.
        """
        world, line, answers = self.world, self.line, self.load.answers
        world.unchecked.remove(self)
        pointers = world.registry.history()
        line.violations += history.of_registry(pointers)
        line.violations += history.of_answers(answers, world.known, pointers, self.lost)
        jobs, ends = world.settled(), world.ends()
        line.violations += history.of_jobs(world.accepted, jobs, ends, world.meant, self.attempts)
        check_line(line, self.within_s)


def two_models(engine: Engine) -> tuple[Model, ...]:
    """Train two models that differ in every prediction, on labels that are stored."""
    add_transactions(engine, 400, labelled=400)
    feature_build.build_pending(engine, feature_build.Scope())
    data = dataset.load(engine, limit=None)
    return tuple(
        fit.fit(data["row"].tolist(), [*(rename + data["label"])], seed=len(rename))
        for rename in ("", "New ")
    )


def known_versions(
    models: Sequence[Model], registry: Registry
) -> tuple[ExpectedAnswers, dict[str, dict[str, bytes]]]:
    """Store the models as versions; return their predictions for some rows, and their files."""
    shops = [shop for names in SHOPS.values() for shop in names]
    rows = [{"merchant": f"{shop} #7", "amount": -4.5 * n} for n, shop in enumerate(shops, 1)]
    says, files = {}, {}
    for model in models:
        version = registry.save(
            model.to_files(), {"metrics": {}, "trained_through": "2026-01-01T00:00:00+00:00"}
        )
        predictions = model.predict_many([features_of(RawTransaction(**row)) for row in rows])
        says[version.run_id] = [(it.label, it.confidence) for it in predictions]
        files[version.run_id] = dict(model.to_files())
    return ExpectedAnswers(rows, says), files


def live(stack: Stack) -> Callable[[], bool]:
    """Whether the web process has a model to answer with."""
    return lambda: bool(stack.call("GET", "/ml/v2/model/status").body["available"])


def web_process(world: World) -> psutil.Process:
    """The process that answers; its parent only watches over it."""
    every = psutil.Process(world.stack.processes[0].pid).children()
    return max(every, key=lambda it: it.memory_info().rss)


def registry_of(stack: Stack) -> Registry:
    return Registry(Path(stack.env["ML_REGISTRY_DIR"]))
