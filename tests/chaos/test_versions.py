"""Versions are swapped, damaged and half published: every answer is of one whole version."""

from __future__ import annotations

import errno
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared.errors import LedgerError, Unavailable
from shared.features.extract import RawTransaction, features_of
from shared.registry.live_model import LiveModel
from shared.registry.store import Registry
from tests.chaos import report
from tests.chaos.report import random_for, times
from tests.chaos.world import World, check_line
from tests.support import registry_writer
from tests.support.registry_damage import overwrite
from tests.support.waiting import wait_deliberately, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
STORM_CLIENTS = 8
ROLLED_BACK_S = 2.0  # until every process answers with the version before


def test_rapid_deploys_fail_no_prediction_and_mix_no_versions(world: World) -> None:
    with world.scene("a deploy every 50 ms", STORM_CLIENTS, within_s=ROLLED_BACK_S) as scene:
        for number in range(times(40, 600)):
            run_id = world.versions[number % 2]
            world.registry.deploy(run_id, by="chaos", why="a storm")
            scene.injected()
            wait_deliberately(0.05)
        asked = time.monotonic()
        world.registry.deploy(world.versions[0], by="chaos", why="the last")
        last = world.registry.history()[0].sequence
        wait_until(
            lambda: any(
                it.status == 200 and it.body["model"]["sequence"] == last
                for it in scene.load.seen_since(asked)
            ),
            "the last one answers",
            within_s=2,
        )
        scene.recovered(time.monotonic() - asked)
    scene.check()


def test_a_rollback_under_load_brings_back_the_version_before(world: World) -> None:
    """From a version that predicts otherwise, and from one whose files are no model."""
    good, worse = world.versions
    refused = dict.fromkeys(world.files[worse], b"{}")
    with world.scene("a bad version rolled back", within_s=ROLLED_BACK_S) as scene:
        for number in range(times(2, 20)):
            bad = worse if number % 2 else world.registry.save(refused, {"metrics": {}}).run_id
            began = time.monotonic()
            deployed = world.stack.call("POST", f"/ml/v2/models/{bad}/deploy", {})
            assert deployed.status == 200, deployed.body
            scene.injected()
            if bad == worse:
                sequence = deployed.body["sequence"]
                wait_until(lambda: scene.load.all_at(sequence, began), "the worse one answers", 10)  # noqa: B023
            else:
                wait_until(lambda: has_refused(world, bad), "it is refused", 10)  # noqa: B023

            asked = time.monotonic()
            back = world.stack.call("POST", "/ml/v2/model/rollback", {})
            assert (back.status, back.body["run_id"]) == (200, good), back.body
            sequence = back.body["sequence"]
            wait_until(lambda: scene.load.all_at(sequence, asked), "the good one answers", 10)  # noqa: B023
            scene.recovered(time.monotonic() - asked)
    scene.check()


def has_refused(world: World, run_id: str) -> bool:
    """Whether a process has tried to load it, and put it aside."""
    return world.registry.quarantined(run_id) is not None


def test_a_publisher_killed_at_any_moment_loses_no_acknowledged_version(world: World) -> None:
    draw, root = random_for("publisher"), Path(world.stack.env["ML_REGISTRY_DIR"])
    both = [world.files[run_id] for run_id in world.versions]
    expected = [world.known.says[run_id] for run_id in world.versions]
    done = registry_writer.PROCESSES.Value("i", 0)
    with world.scene("publisher killed at a random moment") as scene:
        for _ in range(times(12, 200)):
            start = done.value + 10  # what it was just making when it died has a name already
            for number in range(start, start + 500):
                world.known.says[registry_writer.run_id_of(number)] = expected[number % 2]  # type: ignore[index]
            process = registry_writer.start(
                registry_writer.publish_for_ever, root, both, done, start
            )
            wait_until(lambda: done.value >= start, "it publishes")  # noqa: B023
            wait_deliberately(draw.uniform(0.0, 0.12))
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            scene.injected()
            acknowledged = done.value
            pointer = world.registry.current()
            assert pointer is not None
            world.registry.load(pointer.run_id, pointer.manifest_sha256)
            numbers = {it.run_id for it in world.registry.history()}
            if registry_writer.run_id_of(acknowledged) not in numbers:
                scene.line.violations.append(f"number {acknowledged} was acknowledged and is lost")
            done.value = max(acknowledged, int(pointer.run_id[-8:], 16))
    scene.check()


def damage(draw: random.Random, version: Path) -> None:
    """Change something about a stored version, as disks, copies and people do."""
    path = draw.choice(sorted(it for it in version.iterdir() if it.is_file()))
    data = path.read_bytes()
    at = draw.randrange(len(data))
    change: Callable[[], bytes] = draw.choice(
        (
            lambda: data[:at],
            lambda: data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :],
            lambda: data[:at] + b"\0" * len(data[at:]),
            lambda: data[:at] + data[at + 4096 :] + b"!",
            lambda: data + draw.randbytes(draw.randint(1, 100)),
            lambda: draw.randbytes(len(data)),
            lambda: data[:at] + draw.randbytes(1 + len(data[at : at + 512])) + data[at + 512 :],
            lambda: b"\n".join(reversed(data.split(b"\n"))) + b"\n",
            lambda: b"",
        )
    )
    overwrite(path, change())
    if path.read_bytes() == data:
        path.unlink()


def test_a_damaged_version_is_never_served_and_never_ends_the_process(
    world: World, disk: Path
) -> None:
    """Loaded in this process: a parser that aborts would end the whole test run."""
    draw = random_for("damage")
    registry = Registry(disk / "registry")
    good, other = (world.files[run_id] for run_id in world.versions)
    rows = [features_of(RawTransaction(**row)) for row in world.known.rows]
    says = world.known.says[world.versions[0]]
    whole = registry.save(good, {"metrics": {}}).run_id
    registry.deploy(whole, by="chaos", why="good")
    runtime = LiveModel(registry, poll_s=3_600)
    runtime.start()
    line, over, wrong = report.Line("a stored version damaged"), threading.Event(), []

    def ask() -> None:
        while not over.wait(0.001):  # this process has the versions to damage, too
            for row, expected in zip(rows, says, strict=True):
                answer = runtime.predict(row)
                line.answers += 1
                if (
                    not answer
                    or (answer.prediction.label, answer.prediction.confidence) != expected
                ):
                    wrong.append(f"{answer} instead of {expected}")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number in range(1, times(60, 900) + 1):
            version = registry.save(
                other, {"metrics": {}}, run_id=registry_writer.run_id_of(number)
            )
            registry.deploy(version.run_id, by="chaos", why="to be damaged")
            damage(draw, disk / "registry" / "versions" / version.run_id)
            runtime.check()
            line.injections += 1
            if registry.quarantined(version.run_id) is None:
                line.violations.append(f"{version.run_id} was not put aside")
            if number % 20 == 0:
                registry.deploy(whole, by="chaos", why="the good one again")
                runtime.check()
                registry.prune(4)
    finally:
        over.set()
        asking.join()
        runtime.stop()
    line.violations += wrong
    check_line(line)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_error_while_publishing_fails_only_the_publisher(
    world: World, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each system call fails in turn, or a sample of them. Predictions go on, and the next
    publisher succeeds."""
    files = world.files[world.versions[1]]
    expected = world.known.says[world.versions[1]]

    def publish(number: int, fault: Callable[..., None]) -> None:
        run_id = registry_writer.run_id_of(1_000 * code + number)
        world.known.says[run_id] = expected  # type: ignore[index]
        with monkeypatch.context() as patch:
            registry_writer.before_each_call(fault, patch.setattr)
            world.registry.save(files, {"metrics": {}}, run_id=run_id)
            world.registry.deploy(run_id, by="chaos", why="on a bad disk")

    calls: list[int] = []
    with world.scene(f"publishing meets {errno.errorcode[code]}") as scene:
        publish(0, lambda number, *_: calls.append(number))
        for step in spread_evenly(len(calls), times(12, len(calls))):
            failed: list[str] = []

            def fault(number: int, name: str, *_: Any, at: int = step) -> None:
                if number == at:
                    failed.append(name)  # noqa: B023
                    raise OSError(code, "injected")

            with suppress(Unavailable):  # the right error; any other fails the scene
                publish(step, fault)
            assert len(failed) == 1, f"call {step} was not made"
            scene.injected()
            pointer = world.registry.current()
            assert pointer is not None
            world.registry.load(pointer.run_id, pointer.manifest_sha256)
        world.registry.deploy(world.versions[0], by="chaos", why="the disk is well again")
    scene.check()


def spread_evenly(count: int, wanted: int) -> list[int]:
    """*wanted* of the numbers from 1 to *count*, evenly, both ends among them."""
    if wanted >= count:
        return [*range(1, count + 1)]
    return [1 + number * (count - 1) // (wanted - 1) for number in range(wanted)]


class Platter:
    """What of a folder would be there after the power went: what was synced, and no more.

    A file's content counts when the file was synced, its name when its folder was. Source: the
    fault injection of LevelDB, which drops what was not synced.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._content: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        for folder in (root, *(it for it in root.rglob("*") if it.is_dir())):
            self._sync_folder(folder)
            for file in folder.iterdir():
                if file.is_file():
                    self._content[file.stat().st_ino] = file.read_bytes()

    def synced(self, path: Path) -> None:
        if path.is_dir():
            self._sync_folder(path)
        else:
            self._content[path.stat().st_ino] = path.read_bytes()

    def _sync_folder(self, folder: Path) -> None:
        self._names[folder.stat().st_ino] = {it.name: it.lstat().st_ino for it in folder.iterdir()}

    def after_power_loss(self, into: Path) -> Path:
        """The registry as it would be found."""
        self._restore(self._root.stat().st_ino, into)
        return into

    def _restore(self, inode: int, into: Path) -> None:
        into.mkdir()
        for name, child in self._names.get(inode, {}).items():
            if child in self._names:
                self._restore(child, into / name)
            else:
                (into / name).write_bytes(self._content.get(child, b""))


def test_after_a_power_loss_the_old_or_the_new_version_is_live_and_whole(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power fails after each sync: what was acknowledged is there."""
    root = disk / "registry"
    registry = Registry(root)
    registry_writer.publish(registry, 1)
    platter, line = Platter(root), report.Line("power loss after any sync")
    acknowledged = 1
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        platter.synced(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        found = Registry(platter.after_power_loss(disk / f"state-{line.injections}"))
        line.injections += 1
        try:
            number = registry_writer.number_live(found)
        except (LedgerError, AssertionError) as error:
            line.violations.append(f"after sync {line.injections}: {error!r}")
        else:
            if number not in (acknowledged, acknowledged + 1):
                line.violations.append(f"{number} is live, {acknowledged} was acknowledged")

    monkeypatch.setattr(os, "fsync", fsync)
    for number in range(2, times(4, 12) + 1):
        registry_writer.publish(registry, number)
        acknowledged = number

    assert line.injections > 10
    check_line(line)
