"""What the registry promises: whole versions, one pointer, a history, and careful retention."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.errors import (
    Conflict,
    NotFound,
)
from shared.registry import durable_files
from shared.registry.store import Registry, new_run_id
from tests.support import registry_writer
from tests.support.registry_writer import files_of, number_live, publish, run_id_of, save


def test_missing_registry_is_empty_and_not_created_by_reading(
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
    assert loaded.manifest.meta == {"f1_macro": 0.8, "note": "café \ud800"}
    assert registry.versions() == [version]
    assert version.manifest.size == 256


def test_saving_a_version_again_needs_the_same_files(registry: Registry) -> None:
    """A job that runs twice may save twice; a version that exists never changes."""
    save(registry, 1)

    save(registry, 1)
    with pytest.raises(Conflict, match="exists with other files"):
        registry.save(files_of(2), {}, run_id=run_id_of(1))

    assert registry.load(run_id_of(1)).files == files_of(1)


@pytest.mark.parametrize("name", ["", "../up", "a/b", "manifest.json", ".hidden", "a\n", "x" * 101])
def test_file_name_that_leaves_the_folder_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ValueError, match="not storable"):
        registry.save({name: b""}, {})


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
    read = durable_files.read

    def slow_read(*args: Any) -> bytes:
        reading.set()
        assert go_on.wait(60)
        return read(*args)

    monkeypatch.setattr(durable_files, "read", slow_read)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(registry.load, run_id_of(1))
        assert reading.wait(60)
        assert registry.prune(keep=0) == []
        go_on.set()
        assert loaded.result(60).files == files_of(1)

    assert registry.prune(keep=0) == [run_id_of(1)]
    assert registry.versions() == []


def test_a_version_removed_while_it_is_opened_is_not_found_rather_than_damaged(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the folder and locking it there is room for a whole pruning."""
    save(registry, 1)
    try_lock = durable_files.try_lock

    def lock_late(descriptor: int, *, shared: bool = False) -> bool:
        if shared:
            assert registry.prune(keep=0) == [run_id_of(1)]
        return try_lock(descriptor, shared=shared)

    monkeypatch.setattr(durable_files, "try_lock", lock_late)
    with pytest.raises(NotFound):
        registry.load(run_id_of(1))


def test_reader_does_not_report_a_removed_version_as_damaged(
    root: Path, registry: Registry
) -> None:
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
                assert loaded.files == files_of(loaded.manifest.meta["number"])
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
        assert all(reader.result(60) for reader in readers)
    registry.prune(keep=2)
    assert len(list((root / "versions").iterdir())) == 2


def test_pruning_does_not_follow_a_link(root: Path, registry: Registry, disk: Path) -> None:
    save(registry, 2)
    outside = disk / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (root / "versions" / run_id_of(1)).symlink_to(outside)
    (root / "versions" / ".tmp-0").symlink_to(outside)

    registry.prune(keep=0)
    save(registry, 3)

    assert (outside / "precious").exists()


def test_a_folder_of_another_name_is_no_version(root: Path, registry: Registry) -> None:
    """Such as a copy that somebody made by hand: not listed, not deployed, not removed."""
    save(registry, 1)
    copy = root / "versions" / f"{run_id_of(1)}.bak"
    shutil.copytree(root / "versions" / run_id_of(1), copy)

    assert [version.run_id for version in registry.versions()] == [run_id_of(1)]
    assert registry.prune(keep=0) == [run_id_of(1)]
    assert copy.exists()


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
    root: Path, registry: Registry, disk: Path, spelling: str
) -> None:
    """Ids are looked up in the listing, never joined to a path unchecked."""
    publish(registry, 1)
    (disk / "secret").mkdir()

    with registry_writer.Opened() as opened:
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


def test_new_ids_are_of_the_form_that_is_looked_up(registry: Registry) -> None:
    run_id = new_run_id()

    assert registry.save({}, {}, run_id=run_id).run_id == run_id
    assert registry.load(run_id).files == {}
