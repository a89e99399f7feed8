"""Exact counters over many processes, in a folder that does not grow when processes are killed.

Each process counts in files of its own, named by an identity that no other process ever has: a
process id comes back after a while, and is the same in two containers. While it lives it holds a
lock on a file of that name, which the kernel releases even after kill -9. Every process that starts
or is scraped adds the files of dead processes up into one set and removes them.

A fold is one step for readers: a link moves to a folder that holds the sums and the names of the
dead that are in them. A reader that saw the link move meanwhile reads again, so nothing is lost or
counted twice, no reader ever waits, and a fold that was killed half-way does no harm.
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

ORPHANED_S = 60.0  # what a killed process was just making may be removed after so long
TRIES = 20
LINK, FOLDED, LOCK = "sums", "folded", ".fold"
_identity: tuple[str, int] | None = None  # of this process, and the descriptor of its lock


def process_id(place: Path) -> str:
    """This process's name in the folder; its lock is taken at the first call, after any fork."""
    global _identity
    if _identity is None:
        _identity = _register(place)
    return _identity[0]


def install() -> None:
    """Make prometheus_client name its files by `identity`. Call it before any metric is made."""
    if place := metrics_folder():
        place.mkdir(parents=True, exist_ok=True)
        values.ValueClass = values.MultiProcessValue(partial(process_id, place))  # type: ignore[no-untyped-call]
        os.register_at_fork(after_in_child=_forget)


def compact(place: Path) -> None:
    """Add the files of processes that have ended into the sums, and remove them."""
    with _locked(place / LOCK, fcntl.LOCK_EX, os.O_CREAT) as mine:
        if mine:
            _compact(place)


class MultiprocessCollector(Collector):
    """The counts of all processes of a folder, dead ones too, and the gauges of the living ones."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The sums as of one moment.

        Raises:
            RuntimeError: the folder changed during every try; another program writes into it.
        """
        compact(self._place)
        for _ in range(TRIES):
            before = _link(self._place)
            # A file that is removed or just being made while it is read: look again.
            with contextlib.suppress(FileNotFoundError, struct.error):
                found: Iterable[Metric] = MultiProcessCollector.merge(  # type: ignore[no-untyped-call]
                    _files(self._place, before)
                )
                if _link(self._place) == before:
                    return found
            time.sleep(0.001)
        raise RuntimeError(f"the counters in {self._place} cannot be read")


def _forget() -> None:
    """Drop the identity in a forked child: it is the parent's, and so is its lock."""
    global _identity
    if _identity is not None:
        os.close(_identity[1])
        _identity = None


def _register(place: Path) -> tuple[str, int]:
    with contextlib.suppress(OSError):
        compact(place)
    name = secrets.token_hex(8)
    # Locked before it gets its name, so no process finds it unlocked while this one lives.
    draft = place / f".{name}"
    held = os.open(draft, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    draft.rename(place / f"{name}.alive")
    return name, held


def _files(place: Path, link: str) -> list[str]:
    """What is to be added up: the sums, and the files of those that are not in them."""
    sums = place / link if link else None
    folded = _folded(sums)
    dead = _dead(place)
    found = sorted(sums.glob("*.db")) if sums else []
    for file in sorted(place.glob("*.db")):
        owner = _owner(file)
        unread = owner in folded or (owner in dead and file.name.startswith("gauge"))
        if not unread and file.stat().st_size:
            found.append(file)
    return [str(file) for file in found]


def _compact(place: Path) -> None:
    """With the lock held."""
    link = _link(place)
    sums = place / link if link else None
    for name in _folded(sums):  # a fold before ended between its two steps
        _remove(place, name)
    for orphan in place.glob(".?*"):
        if orphan.name != LOCK and time.time() - orphan.lstat().st_mtime > ORPHANED_S:
            orphan.unlink(missing_ok=True)
    for other in place.glob(f"{LINK}-*"):
        if other.name != link:
            shutil.rmtree(other, ignore_errors=True)
    dead = _dead(place)
    if not dead:
        return
    draft = place / f"{LINK}-{secrets.token_hex(8)}"
    draft.mkdir()
    for kind in ("counter", "histogram", "summary"):
        files = [file for name in sorted(dead) for file in place.glob(f"{kind}_{name}.db")]
        if sums:
            files += sums.glob(f"{kind}_*.db")
        _sum([str(file) for file in files if file.stat().st_size], draft / f"{kind}_sums.db")
    (draft / FOLDED).write_text("\n".join(sorted(dead)))
    temporary = place / f".{draft.name}"
    temporary.symlink_to(draft.name)
    temporary.rename(place / LINK)  # from here on the dead are in the sums
    for name in dead:
        _remove(place, name)
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


def _remove(place: Path, name: str) -> None:
    """The lock's file goes last: until then the others can be found."""
    for file in place.glob(f"*_{name}.db"):
        file.unlink(missing_ok=True)
    (place / f"{name}.alive").unlink(missing_ok=True)


def _dead(place: Path) -> set[str]:
    """Those that have a lock's file and no longer hold it."""
    found = set()
    for file in place.glob("*.alive"):
        # Shared, so that two who look at once do not take each other for the owner.
        with _locked(file, fcntl.LOCK_SH) as free:
            if free:
                found.add(file.stem)
    return found


def _folded(sums: Path | None) -> set[str]:
    return set((sums / FOLDED).read_text().split()) if sums else set()


def _link(place: Path) -> str:
    try:
        return os.readlink(place / LINK)
    except FileNotFoundError:
        return ""


def _owner(file: Path) -> str:
    return file.stem.rpartition("_")[2]


@contextlib.contextmanager
def _locked(file: Path, how: int, create: int = 0) -> Iterator[bool]:
    """Whether the lock was to be had, at once; it is held for the block."""
    try:
        held = os.open(file, os.O_RDWR | create, 0o600)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(held, how | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(held)
