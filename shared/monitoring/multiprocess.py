"""Exact counters over many processes, in a folder that stays small when processes are killed.

Each process counts in files of its own, named by a random id: a process id is reused, and is the
same in two containers. It holds a lock on a file of that name while it lives, which the kernel
releases even after kill -9. Each process that starts or is scraped compacts: it adds the files of
dead processes up into one set of sums and removes them.

Compaction is atomic for readers: a symbolic link moves to a folder with the sums and the ids that
are in them. A reader that sees the link move reads again. So nothing is lost or counted twice, no
reader waits, and a compaction that is killed does no harm.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import struct
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from prometheus_client import values
from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shared.settings import metrics_folder

ORPHANED_S = 60.0  # after this time, a draft is one that a killed process has left
TRIES = 20
LINK, IDS, LOCK = "sums", "folded", ".fold"
_identity: tuple[str, int] | None = None  # this process's id, and the descriptor of its lock


def process_id(folder: Path) -> str:
    """Return this process's id; the first call after a fork makes it and takes its lock."""
    global _identity
    if _identity is None:
        _identity = _register(folder)
    return _identity[0]


def install() -> None:
    """Make prometheus_client name its files by `process_id`; call it before any metric is made."""
    if folder := metrics_folder():
        folder.mkdir(parents=True, exist_ok=True)
        values.ValueClass = values.MultiProcessValue(partial(process_id, folder))  # type: ignore[no-untyped-call]
        os.register_at_fork(after_in_child=_forget)


def compact(folder: Path) -> None:
    """Add the files of dead processes to the sums and remove them."""
    with _locked(folder / LOCK, fcntl.LOCK_EX, os.O_CREAT) as is_free:
        if is_free:
            _compact(folder)


class MultiprocessCollector(Collector):
    """Collects the counters of all processes, dead ones too, and the gauges of the living ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the sums at one point in time.

        Raises:
            RuntimeError: the folder changed during every try; another program writes into it.
        """
        compact(self._folder)
        for _ in range(TRIES):
            before = _link(self._folder)
            # A file may be removed or incomplete while it is read: then try again.
            with contextlib.suppress(FileNotFoundError, struct.error):
                metrics: Iterable[Metric] = MultiProcessCollector.merge(  # type: ignore[no-untyped-call]
                    _files(self._folder, before)
                )
                if _link(self._folder) == before:
                    return metrics
            time.sleep(0.001)
        raise RuntimeError(f"the counters in {self._folder} cannot be read")


def _forget() -> None:
    """Drop the id and the lock in a forked child: both are the parent's."""
    global _identity
    if _identity is not None:
        os.close(_identity[1])
        _identity = None


def _register(folder: Path) -> tuple[str, int]:
    with contextlib.suppress(OSError):
        compact(folder)
    name = secrets.token_hex(8)
    # Locked before it is renamed, so no process finds it unlocked while this one lives.
    draft = folder / f".{name}"
    lock = os.open(draft, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    draft.rename(folder / f"{name}.alive")
    return name, lock


def _files(folder: Path, link: str) -> list[str]:
    """Return the files to add up: the sums, and those of processes that are not in them."""
    sums = folder / link if link else None
    in_sums = _in_sums(sums)
    dead = _dead(folder)
    files = sorted(sums.glob("*.db")) if sums else []
    for file in sorted(folder.glob("*.db")):
        owner = file.stem.rpartition("_")[2]
        skip = owner in in_sums or (owner in dead and file.name.startswith("gauge"))
        if not skip and file.stat().st_size:
            files.append(file)
    return [str(file) for file in files]


def _compact(folder: Path) -> None:
    """Compact; the caller holds the lock."""
    link = _link(folder)
    sums = folder / link if link else None
    for name in _in_sums(sums):  # an earlier compaction was killed between its two steps
        _remove(folder, name)
    for orphan in folder.glob(".?*"):
        if orphan.name != LOCK and time.time() - orphan.lstat().st_mtime > ORPHANED_S:
            orphan.unlink(missing_ok=True)
    for other in folder.glob(f"{LINK}-*"):
        if other.name != link:
            shutil.rmtree(other, ignore_errors=True)
    dead = _dead(folder)
    if not dead:
        return
    draft = folder / f"{LINK}-{secrets.token_hex(8)}"
    draft.mkdir()
    for kind in ("counter", "histogram", "summary"):
        files = [file for name in sorted(dead) for file in folder.glob(f"{kind}_{name}.db")]
        if sums:
            files += sums.glob(f"{kind}_*.db")
        _sum([str(file) for file in files if file.stat().st_size], draft / f"{kind}_sums.db")
    (draft / IDS).write_text("\n".join(sorted(dead)))
    temporary = folder / f".{draft.name}"
    temporary.symlink_to(draft.name)
    temporary.rename(folder / LINK)  # from here on the dead are in the sums
    for name in dead:
        _remove(folder, name)
    if sums:
        shutil.rmtree(sums, ignore_errors=True)


def _sum(files: list[str], into: Path) -> None:
    if not files:
        return
    written = MmapedDict(str(into))  # type: ignore[no-untyped-call]
    metrics = MultiProcessCollector.merge(files, accumulate=False)  # type: ignore[no-untyped-call]
    for metric in metrics:
        for sample in metric.samples:
            key = mmap_key(
                metric.name,
                sample.name,
                list(sample.labels),
                list(sample.labels.values()),
                metric.documentation,
            )
            written.write_value(key, sample.value, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]


def _remove(folder: Path, name: str) -> None:
    """Remove a dead process's files, its lock last: until then the others are found by it."""
    for file in folder.glob(f"*_{name}.db"):
        file.unlink(missing_ok=True)
    (folder / f"{name}.alive").unlink(missing_ok=True)


def _dead(folder: Path) -> set[str]:
    """Return the ids whose lock is free."""
    dead = set()
    for file in folder.glob("*.alive"):
        # A shared lock: two processes that try at once must not take each other for the owner.
        with _locked(file, fcntl.LOCK_SH) as is_free:
            if is_free:
                dead.add(file.stem)
    return dead


def _in_sums(sums: Path | None) -> set[str]:
    return set((sums / IDS).read_text().split()) if sums else set()


def _link(folder: Path) -> str:
    try:
        return os.readlink(folder / LINK)
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def _locked(file: Path, how: int, create: int = 0) -> Iterator[bool]:
    """Take a lock for the block, without waiting; yield whether it was free."""
    is_free = False
    try:
        lock = os.open(file, os.O_RDWR | create, 0o600)
    except FileNotFoundError:
        yield False
        return
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, how | fcntl.LOCK_NB)
            is_free = True
        yield is_free
    finally:
        os.close(lock)
