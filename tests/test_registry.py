"""What the registry promises: whole versions, one pointer, and a history, whatever dies when."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared import durable
from shared.errors import (
    Conflict,
    DamagedVersion,
    DeployConflict,
    InvalidInput,
    NotFound,
    NothingToRollBack,
    Unavailable,
)
from shared.registry import Registry, new_run_id
from tests import registry_writer as writer
from tests.registry_writer import files_of, publish, run_id_of, save


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(root)


def number_live(registry: Registry) -> int:
    """The number of the live version, after reading it whole."""
    pointer = registry.current()
    assert pointer is not None
    loaded = registry.load(pointer.run_id, pointer.manifest_sha256)
    number = int(loaded.manifest["meta"]["number"])
    assert loaded.files == files_of(number)
    return number


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".*")]


# --- save, deploy, roll back -------------------------------------------------------------------


def test_a_registry_that_is_not_there_is_empty_and_reading_does_not_make_it(
    root: Path, registry: Registry
) -> None:
    """A web process may start before the first training run."""
    assert registry.current() is None
    assert registry.versions() == []
    assert registry.history() == []
    assert not root.exists()


def test_a_saved_version_comes_back_byte_for_byte(registry: Registry) -> None:
    """What was trained is what is served."""
    files = {"model.txt": bytes(range(256)), "empty.json": b""}

    version = registry.save(files, {"f1_macro": 0.8, "note": "café \ud800"})

    loaded = registry.load(version.run_id)
    assert loaded.files == files
    assert loaded.manifest["meta"] == {"f1_macro": 0.8, "note": "café \ud800"}
    assert registry.versions() == [version]
    assert version.size == 256


def test_versions_come_newest_first(registry: Registry) -> None:
    """Ids sort by time, so no clock of the file system is asked."""
    for number in (2, 3, 1):
        save(registry, number)

    assert [version.meta["number"] for version in registry.versions()] == [3, 2, 1]


def test_saving_the_same_again_is_harmless_and_other_files_are_refused(registry: Registry) -> None:
    """A job that runs twice may save twice; a version that exists never changes."""
    save(registry, 1)

    save(registry, 1)
    with pytest.raises(Conflict, match="exists with other files"):
        registry.save(files_of(2), {}, run_id=run_id_of(1))

    assert registry.load(run_id_of(1)).files == files_of(1)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "manifest.json", ".hidden", "a\n", "x" * 101])
def test_a_file_name_that_could_mean_another_place_is_not_saved(
    registry: Registry, name: str
) -> None:
    with pytest.raises(ValueError, match="not storable"):
        registry.save({name: b""}, {})


def test_the_history_says_who_deployed_what_when_and_why(registry: Registry) -> None:
    """Newest first, rollbacks among them."""
    save(registry, 1)
    save(registry, 2)
    registry.deploy(run_id_of(1), by="ann", why="first")
    registry.deploy(run_id_of(2), by="nightly", why="F1 0.81 ≥ 0.72")
    registry.rollback(by="bob", why="complaints")

    rows = [(p.sequence, p.action, p.run_id, p.by, p.why) for p in registry.history()]

    assert rows == [
        (3, "rollback", run_id_of(1), "bob", "complaints"),
        (2, "deploy", run_id_of(2), "nightly", "F1 0.81 ≥ 0.72"),
        (1, "deploy", run_id_of(1), "ann", "first"),
    ]
    assert registry.history()[0] == registry.current()
    assert [p.at for p in registry.history()] == sorted((p.at for p in registry.history()))[::-1]


def test_rolling_back_twice_goes_back_two_versions(registry: Registry) -> None:
    """At night one expects to get further back, not to flip between two bad versions."""
    for number in (1, 2, 3):
        publish(registry, number)

    registry.rollback(by="ann", why="bad")
    assert number_live(registry) == 2
    registry.rollback(by="ann", why="also bad")
    assert number_live(registry) == 1
    with pytest.raises(NothingToRollBack):
        registry.rollback(by="ann", why="still bad")


def test_a_rollback_passes_over_what_was_rolled_back_before(registry: Registry) -> None:
    """1, 2, back to 1, then 3: from 3 the way back is 1, since 2 was rejected."""
    publish(registry, 1)
    publish(registry, 2)
    registry.rollback(by="ann", why="bad")
    publish(registry, 3)
    current = registry.current()
    assert current is not None
    assert current.previous == run_id_of(1)

    registry.rollback(by="ann", why="bad too")

    assert number_live(registry) == 1


def test_any_version_can_be_deployed_again_and_rolled_back_from(registry: Registry) -> None:
    """1, 2, then 1 by its id: a rollback returns to 2, and another one to 1."""
    publish(registry, 1)
    publish(registry, 2)
    registry.deploy(run_id_of(1), by="ann", why="by hand")

    numbers = []
    for _ in range(2):
        registry.rollback(by="ann", why="back")
        numbers.append(number_live(registry))

    assert numbers == [2, 1]


def test_deploying_what_is_live_changes_nothing(registry: Registry) -> None:
    """Who did not hear the answer may ask again, also with the sequence of his first try."""
    save(registry, 1)
    first = registry.deploy(run_id_of(1), by="ann", why="go", expected_sequence=0)

    again = registry.deploy(run_id_of(1), by="ann", why="go", expected_sequence=0)

    assert again == first
    assert len(registry.history()) == 1


@pytest.mark.parametrize("spoil", ["damage", "prune", "quarantine"])
def test_a_rollback_to_a_version_that_is_no_longer_good_names_it(
    root: Path, registry: Registry, spoil: str
) -> None:
    """The live version stays, and the operator knows which one is lost."""
    publish(registry, 1)
    publish(registry, 2)
    if spoil == "damage":
        overwrite(root / "versions" / run_id_of(1) / "model.json", b"{}")
    elif spoil == "prune":
        shutil.rmtree(root / "versions" / run_id_of(1))
    else:
        registry.quarantine(run_id_of(1), "does not parse")

    with pytest.raises(DamagedVersion, match=run_id_of(1)):
        registry.rollback(by="ann", why="bad")

    assert number_live(registry) == 2


def test_a_text_too_long_for_the_history_is_refused(registry: Registry) -> None:
    """Else a pointer could grow past what is read."""
    save(registry, 1)

    with pytest.raises(InvalidInput, match="why must have at most"):
        registry.deploy(run_id_of(1), by="ann", why="x" * 2001)

    assert registry.current() is None


# --- two publishers ----------------------------------------------------------------------------


def test_of_two_trainers_who_saw_the_same_live_version_one_wins(registry: Registry) -> None:
    """A trainer that was frozen and wakes up must not undo a newer deploy."""
    publish(registry, 1)
    save(registry, 2)
    save(registry, 3)
    registry.deploy(run_id_of(3), by="fast", why="", expected_sequence=1)

    with pytest.raises(DeployConflict, match="deploy 2 is live, 1 was expected"):
        registry.deploy(run_id_of(2), by="slow", why="", expected_sequence=1)

    assert number_live(registry) == 3


def test_of_many_threads_with_one_expectation_exactly_one_deploys(registry: Registry) -> None:
    publish(registry, 1)
    numbers = range(2, 10)
    for number in numbers:
        save(registry, number)
    gate = threading.Barrier(len(numbers))

    def attempt(number: int) -> bool:
        gate.wait(20)
        try:
            registry.deploy(run_id_of(number), by="race", why="", expected_sequence=1)
        except DeployConflict:
            return False
        return True

    with ThreadPoolExecutor(len(numbers)) as pool:
        won = [number for number, ok in zip(numbers, pool.map(attempt, numbers)) if ok]

    assert won == [number_live(registry)]
    assert [p.sequence for p in registry.history()] == [2, 1]


def test_of_many_processes_with_one_expectation_exactly_one_deploys(
    root: Path, registry: Registry
) -> None:
    publish(registry, 1)
    numbers = range(2, 8)
    for number in numbers:
        save(registry, number)
    gate = writer.PROCESSES.Barrier(len(numbers))

    racers = [writer.start(writer.deploy_at_once, root, number, 1, gate) for number in numbers]
    for racer in racers:
        racer.join(30)

    won = [number for number, racer in zip(numbers, racers) if racer.exitcode == writer.WON]
    assert won == [number_live(registry)]
    assert [racer.exitcode for racer in racers].count(writer.LOST) == len(numbers) - 1


def test_a_frozen_publisher_makes_the_others_fail_not_hang(root: Path, registry: Registry) -> None:
    """The lock is waited for, but not for ever."""
    publish(registry, 1)
    save(registry, 2)

    with (root / "deploy" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="another process holds the registry"):
            Registry(root, lock_wait_s=0).deploy(run_id_of(2), by="ann", why="")

    assert number_live(registry) == 1


# --- dying and failing at every step -----------------------------------------------------------


def test_a_publisher_killed_at_any_system_call_leaves_the_old_version_or_the_new(
    tmp_path: Path,
) -> None:
    """Whole in either case; what was acknowledged is never lost; the next publisher works."""
    killed = 0
    for step in itertools.count(1):
        root = tmp_path / str(step)
        publish(Registry(root), 1)
        acked = writer.PROCESSES.Event()

        code = writer.run(writer.die_while_publishing, root, step, acked)

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
    tmp_path: Path, for_ever: bool
) -> None:
    """The failure is told, never swallowed before the commit; asking again then succeeds."""
    failed = 0
    for step in itertools.count(1):
        registry = Registry(tmp_path / str(step))
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
            writer.before_each_call(fault, patch.setattr)
            try:
                publish(registry, 2)
                told = False
            except Unavailable as error:
                assert "injected" in str(error)
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


def test_a_full_disk_leaves_nothing_behind(root: Path, registry: Registry) -> None:
    publish(registry, 1)

    assert writer.run(writer.save_on_a_full_disk, root) == writer.WON

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

    writer.before_each_call(watch, monkeypatch.setattr)

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


# --- damage ------------------------------------------------------------------------------------


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    overwrite(path, bytes(data))


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    overwrite(one, second)
    overwrite(other, first)


def link_to_a_copy(path: Path) -> None:
    """A symbolic link to a place outside, which even has the right content."""
    path.rename(path.parents[3] / path.name)
    path.symlink_to(path.parents[3] / path.name)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def reseal(path: Path) -> None:
    """An edit by one who knows how the checksum is made."""
    body = durable.unseal(path.read_bytes())
    overwrite(path, durable.seal({**body, "meta": {"number": 99}}))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda v: os.truncate(v / "model.json", 100), "model.json: 100 bytes"),
    "emptied": (lambda v: os.truncate(v / "model.json", 0), "model.json: 0 bytes"),
    "zero tail": (
        lambda v: overwrite(
            v / "model.json", (v / "model.json").read_bytes()[:50].ljust(328, b"\0")
        ),
        "model.json: ",
    ),
    "one bit": (lambda v: flip_a_bit(v / "model.json"), "model.json: does not match its hash"),
    "longer": (
        lambda v: overwrite(v / "model.json", (v / "model.json").read_bytes() + b" "),
        "model.json: ",
    ),
    "swapped": (lambda v: swap(v / "model.json", v / "labels.json"), "model.json|labels.json"),
    "missing": (lambda v: (v / "labels.json").unlink(), "labels.json: missing"),
    "one more": (lambda v: (v / "more.json").write_bytes(b""), "more.json: not listed"),
    "linked": (lambda v: link_to_a_copy(v / "model.json"), "model.json: is not a file"),
    "fifo": (lambda v: fifo(v / "model.json"), "model.json: is not a file"),
    "folder": (
        lambda v: ((v / "model.json").unlink(), (v / "model.json").mkdir()),
        "model.json: is not a file",
    ),
    "manifest edited": (lambda v: flip_a_bit(v / "manifest.json"), "manifest.json: does not match"),
    "manifest emptied": (lambda v: overwrite(v / "manifest.json", b""), "manifest.json: does not"),
    "manifest gone": (lambda v: (v / "manifest.json").unlink(), "manifest.json: missing"),
    "manifest of another": (
        lambda v: overwrite(
            v / "manifest.json", (v.parent / run_id_of(1) / "manifest.json").read_bytes()
        ),
        "manifest.json: ",
    ),
    "whole folder linked": (lambda v: link_to_a_copy(v), "not a folder"),
}


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
def test_a_damaged_pointer_is_named_and_the_next_deploy_puts_it_right(
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


def test_a_torn_line_in_the_history_is_left_out_and_spoils_no_other(
    root: Path, registry: Registry
) -> None:
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


# --- retention ---------------------------------------------------------------------------------


def test_pruning_keeps_the_live_version_the_one_before_and_the_newest(registry: Registry) -> None:
    """However old the live one is."""
    for number in range(1, 8):
        save(registry, number)
    registry.deploy(run_id_of(2), by="ann", why="")
    registry.deploy(run_id_of(1), by="ann", why="")

    removed = registry.prune(keep=2)

    assert removed == [run_id_of(number) for number in (5, 4, 3)]
    assert [version.meta["number"] for version in registry.versions()] == [7, 6, 2, 1]


def test_a_version_being_read_is_not_pruned(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader gets all of it; the next pruning takes it."""
    save(registry, 1)
    reading, go_on = threading.Event(), threading.Event()
    read = durable.read

    def slow_read(*args: Any) -> bytes:
        reading.set()
        assert go_on.wait(20)
        return read(*args)

    monkeypatch.setattr(durable, "read", slow_read)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(registry.load, run_id_of(1))
        assert reading.wait(20)
        assert registry.prune(keep=0) == []
        go_on.set()
        assert loaded.result(20).files == files_of(1)

    assert registry.prune(keep=0) == [run_id_of(1)]
    assert registry.versions() == []


def test_readers_never_take_a_removal_for_damage(root: Path, registry: Registry) -> None:
    """While versions come and go, a load gives a whole one or says that there is none."""
    numbers = range(1, 60)
    done = threading.Event()

    def read_on() -> int:
        whole = 0
        while not done.is_set():
            for version in registry.versions():
                try:
                    loaded = registry.load(version.run_id)
                except NotFound:
                    continue
                assert loaded.files == files_of(loaded.manifest["meta"]["number"])
                whole += 1
        return whole

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read_on) for _ in range(3)]
        try:
            for number in numbers:
                save(registry, number)
                registry.prune(keep=2)
        finally:
            done.set()
        assert all(reader.result(20) for reader in readers)
    registry.prune(keep=2)
    assert len(list((root / "versions").iterdir())) == 2


def test_pruning_does_not_follow_a_link(root: Path, registry: Registry, tmp_path: Path) -> None:
    save(registry, 2)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (root / "versions" / run_id_of(1)).symlink_to(outside)
    (root / "versions" / ".tmp-0").symlink_to(outside)

    registry.prune(keep=0)
    save(registry, 3)

    assert (outside / "precious").exists()


# --- ids that come from clients ----------------------------------------------------------------

SPELLINGS = [
    *("", ".", "..", "/", "~", "*", "CURRENT", "deploy", "lock", "manifest.json"),
    *("../secret", "..\\secret", "/etc/passwd", "//etc/passwd", "./../secret", "versions/../.."),
    *("%2e%2e%2fsecret", "%252e%252e%252fsecret", "..%2fsecret", "..%c0%afsecret", "%00"),
    *("..;/secret", "secret#", "secret?x", "secret;p=1", "file:///etc/passwd", "file:secret"),
    *("\0", "a\0b", "a\nb", "\ud800", "．．／secret", "..∕secret", "null", "None", "0"),
    *("20250101T000001Z-00000001/", "20250101T000001Z-00000001/.", "20250101T000001Z-00000001\n"),
    *("20250101T000001Z-00000001/../../secret", " 20250101T000001Z-00000001"),
    *("20250101T000001Z-0000000A", "20250101t000001z-00000001", "20250101T000001Z-00000001.json"),
    *("２0250101T000001Z-00000001", "٢0250101T000001Z-00000001", "20250101T000001Z-00000001\0"),
    *("20250101T000001Z-00000001%00", "20250101T000001Z-00000001#", ".tmp-0", "x" * 5000),
    "20250101T000001Z-99999999",  # well formed, but nobody saved it
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=[ascii(s)[:40] for s in SPELLINGS])
def test_an_id_of_any_other_spelling_is_not_found_and_opens_nothing_outside(
    root: Path, registry: Registry, tmp_path: Path, spelling: str
) -> None:
    """Ids are looked up in the listing, never joined to a path unchecked."""
    publish(registry, 1)
    (tmp_path / "secret").mkdir()

    with Opened() as opened:
        for act in (
            lambda: registry.load(spelling),
            lambda: registry.version(spelling),
            lambda: registry.deploy(spelling, by="eve", why=""),
            lambda: registry.quarantine(spelling, "x"),
        ):
            with pytest.raises(NotFound):
                act()

    assert opened.paths
    assert all(Path(path).is_relative_to(root) for path in opened.paths)
    assert number_live(registry) == 1


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
        if active and event in ("open", "os.listdir", "os.scandir"):
            if threading.get_ident() == active.thread and isinstance(args[0], str | Path):
                active.paths.append(str(args[0]))


def test_new_ids_are_of_the_form_that_is_looked_up(registry: Registry) -> None:
    run_id = new_run_id()

    assert registry.save({}, {}, run_id=run_id).run_id == run_id
    assert registry.load(run_id).files == {}
