"""What the registry promises when publishers die, disks fail and files are damaged."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import (
    DamagedVersion,
    Unavailable,
)
from shared.registry.store import Registry
from tests.support import registry_writer
from tests.support.registry_damage import DAMAGE, reseal
from tests.support.registry_writer import leftovers, number_live, publish, run_id_of, save


def test_a_publisher_killed_at_any_system_call_leaves_the_old_version_or_the_new(
    disk: Path,
) -> None:
    """Whole in either case; what was acknowledged is never lost; the next publisher works."""
    killed = 0
    for step in itertools.count(1):
        root = disk / str(step)
        publish(Registry(root), 1)
        acked = registry_writer.PROCESSES.Event()

        code = registry_writer.run(registry_writer.die_while_publishing, root, step, acked)

        registry = Registry(root)
        assert number_live(registry) in ((2, 3) if acked.is_set() else (1, 2))
        sequences = [pointer.sequence for pointer in registry.history()]
        assert registry.history()[0] == registry.current()
        assert sequences == list(range(len(sequences), 0, -1))
        publish(registry, 9)
        assert number_live(registry) == 9
        assert [p.sequence for p in registry.history()] == [len(sequences) + 1, *sequences]
        assert leftovers(root) == []
        if code == 0:
            break
        assert code == -9
        killed += 1
    assert killed > 40


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "from then on"])
def test_a_disk_that_fails_at_any_system_call_leaves_the_old_version_or_the_new(
    disk: Path, for_ever: bool
) -> None:
    """The failure is told, never swallowed before the commit; asking again then succeeds."""
    failed = 0
    for step in itertools.count(1):
        registry = Registry(disk / str(step))
        publish(registry, 1)
        hit = False

        def fault(
            number: int, name: str, args: tuple[Any, ...], real: Callable[..., Any], at: int = step
        ) -> None:
            nonlocal hit
            if number == at or (for_ever and number > at):
                hit = True
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                raise OSError(errno.ENOSPC if name == "write" else errno.EIO, "injected")

        with pytest.MonkeyPatch.context() as patch:
            registry_writer.before_each_call(fault, patch.setattr)
            try:
                publish(registry, 2)
                told = False
            except Unavailable:
                told = True

        assert told or number_live(registry) == 2
        assert number_live(registry) in (1, 2)
        publish(registry, 2)
        assert number_live(registry) == 2
        assert [p.sequence for p in registry.history()] == [2, 1]
        if not hit:
            break
        failed += 1
    assert failed > 20


def test_a_frozen_publisher_makes_the_others_fail_not_hang(root: Path, registry: Registry) -> None:
    """The lock is waited for, but not for ever."""
    publish(registry, 1)
    save(registry, 2)

    with (root / "deploy" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another process holds the registry"):
            Registry(root, lock_wait_s=0).deploy(run_id_of(2), by="ann", why="")

    assert number_live(registry) == 1


def test_a_full_disk_leaves_nothing_behind(root: Path, registry: Registry) -> None:
    publish(registry, 1)

    assert registry_writer.run(registry_writer.save_on_a_full_disk, root) == registry_writer.WON

    assert leftovers(root) == []
    assert len(registry.versions()) == 1


def test_every_rename_comes_after_the_sync_of_its_file_and_before_that_of_its_folder(
    root: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill cannot show this, since the page cache survives it; the order of the calls does.

    At an acknowledgement nothing may be unsynced, and when CURRENT moves, nothing it leads to.
    """
    unsynced_data: set[int] = set()  # inodes
    unsynced_names: set[int] = set()
    renames = []

    def watch(number: int, name: str, args: tuple[Any, ...], real: Callable[..., Any]) -> None:
        if name == "write":
            unsynced_data.add(os.fstat(args[0]).st_ino)
        elif name == "fsync":
            unsynced_data.discard(os.fstat(args[0]).st_ino)
            unsynced_names.discard(os.fstat(args[0]).st_ino)
        elif (name == "open" and args[1] & os.O_CREAT) or name == "mkdir":
            if not Path(args[0]).exists() and Path(args[0]).name != "lock":
                unsynced_names.add(Path(args[0]).parent.stat().st_ino)
        elif name in ("rename", "replace"):
            source, target = Path(args[0]), Path(args[1])
            moved = {path.stat().st_ino for path in (source, *source.rglob("*"))}
            assert not moved & (unsynced_data | unsynced_names)
            if target.name == "CURRENT":
                assert unsynced_names <= {target.parent.stat().st_ino}
            unsynced_names.add(target.parent.stat().st_ino)
            renames.append(target.name)

    registry_writer.before_each_call(watch, monkeypatch.setattr)

    for number in (1, 2):
        save(registry, number)
        assert not unsynced_data
        assert unsynced_names <= {(root / "deploy").stat().st_ino}
        registry.deploy(run_id_of(number), by="ann", why="")
        assert not unsynced_data | unsynced_names
    registry.quarantine(run_id_of(1), "test")
    registry.prune(keep=0)

    assert not unsynced_data | unsynced_names
    assert renames[:4] == [run_id_of(1), "CURRENT", run_id_of(2), "CURRENT"]


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_version_is_named_and_not_deployed(
    root: Path, registry: Registry, damage: Callable[[Path], object], message: str
) -> None:
    """The live version stays live."""
    publish(registry, 1)
    save(registry, 2)
    damage(root / "versions" / run_id_of(2))

    with pytest.raises(DamagedVersion, match=f"{run_id_of(2)}: ({message})"):
        registry.deploy(run_id_of(2), by="ann", why="")

    assert number_live(registry) == 1
    assert len(registry.versions()) == 2


def test_a_manifest_edited_with_a_matching_checksum_is_not_the_one_deployed(
    root: Path, registry: Registry
) -> None:
    """The pointer and the history hold the manifest's hash, so a rollback sees it too."""
    publish(registry, 1)
    publish(registry, 2)
    reseal(root / "versions" / run_id_of(1) / "manifest.json")

    with pytest.raises(DamagedVersion, match="is not the one that was deployed"):
        registry.rollback(by="ann", why="")

    assert number_live(registry) == 2


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\0" * 400, "torn"])
def test_damaged_pointer_is_reported_and_repaired_by_the_next_deployment(
    root: Path, registry: Registry, content: bytes | str | None
) -> None:
    """Nothing is pruned meanwhile, and the sequence goes on."""
    publish(registry, 1)
    publish(registry, 2)
    current = root / "deploy" / "CURRENT"
    whole = current.read_bytes()
    current.unlink()
    if content is not None:
        current.write_bytes(whole[:-20] if isinstance(content, str) else content)

    with pytest.raises(DamagedVersion, match="CURRENT"):
        registry.current()
    with pytest.raises(DamagedVersion, match="CURRENT"):
        registry.prune(keep=0)
    registry.deploy(run_id_of(2), by="ann", why="repair")

    assert number_live(registry) == 2
    assert [p.sequence for p in registry.history()] == [3, 2, 1]
    assert registry.rollback(by="ann", why="").run_id == run_id_of(1)


def test_torn_line_of_the_history_is_skipped(root: Path, registry: Registry) -> None:
    publish(registry, 1)
    publish(registry, 2)
    history = root / "deploy" / "history.jsonl"
    os.truncate(history, history.stat().st_size - 30)

    assert [p.sequence for p in registry.history()] == [2, 1]  # the pointer knows the last one
    publish(registry, 3)

    assert [p.sequence for p in registry.history()] == [3, 2, 1]
    assert history.read_bytes().count(b"\n") == 4


def test_a_quarantined_version_says_why_and_is_not_deployed(registry: Registry) -> None:
    """The first reason stays."""
    save(registry, 1)
    registry.quarantine(run_id_of(1), "model.txt does not parse")
    registry.quarantine(run_id_of(1), "another process says so too")

    with pytest.raises(DamagedVersion, match=r"quarantined: model.txt does not parse"):
        registry.deploy(run_id_of(1), by="ann", why="")

    assert registry.version(run_id_of(1)).problem == "model.txt does not parse"
    assert registry.current() is None
