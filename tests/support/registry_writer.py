"""Other processes for the registry's tests: they publish, race, fork, and die at a chosen step.

They come from a fork server, so each is a real process that costs a few milliseconds.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.errors import DeployConflict, Unavailable
from shared.registry.live_model import LiveModel
from shared.registry.store import ModelVersion, Registry
from tests.support.waiting import wait_until

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.support.registry_writer"])
PYTHON = sys.executable
STEPS = ("open", "write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir")
WON, LOST, FAILED = 0, 3, 4  # exit codes


@contextmanager
def a_disk() -> Iterator[Path]:
    """A folder, in memory where there is such a place: a kill loses no page cache either way."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def run_id_of(number: int) -> str:
    """Ids that sort by number."""
    return f"20250101T{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}Z-{number:08x}"


def files_of(number: int) -> dict[str, bytes]:
    """Two files that must never be seen beside those of another version."""
    text = json.dumps({"number": number, "padding": "x" * 300}).encode()
    return {"model.json": text, "labels.json": text + b"\n"}


def save(registry: Registry, number: int) -> ModelVersion:
    """Store the version of this number."""
    return registry.save(files_of(number), {"number": number}, run_id=run_id_of(number))


def publish(registry: Registry, number: int) -> str:
    """Store the version of this number and make it live."""
    run_id = save(registry, number).run_id
    registry.deploy(run_id, by="writer", why=f"number {number}")
    return run_id


def publish_for_ever(root: Path, files: list[dict[str, bytes]], done: Any, start: int) -> None:
    """Save and deploy one version after another, until killed; `done` is the last acknowledged."""
    registry = Registry(root)
    number = start
    while True:
        number += 1
        run_id = run_id_of(number)
        registry.save(files[number % 2], {"metrics": {}}, run_id=run_id)
        registry.deploy(run_id, by="publisher", why=f"number {number}")
        done.value = number
        registry.prune(4)


def number_live(registry: Registry) -> int:
    """The number of the live version, after reading it whole."""
    pointer = registry.current()
    assert pointer is not None
    loaded = registry.load(pointer.run_id, pointer.manifest_sha256)
    number = int(loaded.manifest.meta["number"])
    assert loaded.files == files_of(number)
    return number


def leftovers(root: Path) -> list[str]:
    """Names of drafts that nobody has cleared away."""
    return [path.name for path in root.rglob(".*")]


class TwoParts:
    """A model of two files, which answers any row with the numbers of both."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.parts = [json.loads(files[name])["number"] for name in ("model.json", "labels.json")]

    def predict(self, row: Any) -> list[int]:
        return self.parts


class Opened:
    """The paths that this thread opens or lists meanwhile, as the interpreter itself reports."""

    _active: Opened | None = None
    _installed = False

    def __enter__(self) -> Opened:
        self.paths: list[str] = []
        self.thread = threading.get_ident()
        if not Opened._installed:  # an audit hook stays for ever
            sys.addaudithook(Opened._hook)
            Opened._installed = True
        Opened._active = self
        return self

    def __exit__(self, *exception: object) -> None:
        Opened._active = None

    @staticmethod
    def _hook(event: str, args: tuple[Any, ...]) -> None:
        active = Opened._active
        if active is None or threading.get_ident() != active.thread:
            return
        if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], str | Path):
            active.paths.append(str(args[0]))


def run(target: Callable[..., None], *args: Any) -> int | None:
    """Run `target` in a process of its own; its exit code, negative for a signal."""
    process = start(target, *args)
    process.join(60)
    return process.exitcode


def start(target: Callable[..., None], *args: Any) -> BaseProcess:
    process = PROCESSES.Process(target=target, args=args)
    process.start()
    return process


def before_each_call(
    fault: Callable[[int, str, tuple[Any, ...], Callable[..., Any]], None],
    patch: Callable[[Any, str, Any], None] = setattr,
) -> None:
    """Call `fault(number, name, args, real)` before every system call that opens or changes."""
    numbers = itertools.count(1)

    def with_fault(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            fault(next(numbers), name, args, real)
            return real(*args, **kwargs)

        return call

    for name in STEPS:
        patch(os, name, with_fault(name, getattr(os, name)))


def die_while_publishing(root: Path, step: int, acked: Event) -> None:
    """Publish 2, acknowledge it, publish 3; die by SIGKILL at the given system call."""

    def fault(number: int, name: str, args: tuple[Any, ...], real: Callable[..., Any]) -> None:
        if number == step:
            if name == "write":  # die in the middle of it
                real(args[0], args[1][: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    before_each_call(fault)
    publish(Registry(root), 2)
    acked.set()
    publish(Registry(root), 3)


def deploy_at_once(root: Path, number: int, expected_sequence: int, gate: Barrier) -> None:
    """Deploy when everybody is ready; exit WON or LOST."""
    registry = Registry(root)
    gate.wait(60)
    try:
        registry.deploy(
            run_id_of(number),
            by=f"process {number}",
            why="race",
            expected_sequence=expected_sequence,
        )
    except DeployConflict:
        os._exit(LOST)
    os._exit(WON)


def save_on_a_full_disk(root: Path) -> None:
    """Save with room for 1,000 bytes a file; exit WON if that was refused as it should."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        Registry(root).save({"model.json": b"x" * 10_000}, {})
    except Unavailable:
        os._exit(WON)
    os._exit(FAILED)


def follow_after_a_fork(root: Path, forked: Event, number: int) -> None:
    """Start a live model, fork, and wait in the child until it answers `number`; exit WON then."""
    runtime = LiveModel(Registry(root), loader=TwoParts, poll_s=0.01)  # type: ignore[arg-type]
    runtime.start()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    runtime.predict(None)  # type: ignore[arg-type]
    forked.set()

    def answers_number() -> bool:
        answer = runtime.predict(None)  # type: ignore[arg-type]
        return answer is not None and list(answer.prediction) == [number, number]

    try:
        wait_until(answers_number, f"{number} is answered")
    except AssertionError:
        os._exit(FAILED)
    os._exit(WON)
