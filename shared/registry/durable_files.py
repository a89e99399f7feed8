"""Durable files: written aside, synced and renamed, so that a crash leaves the old or the new one.

A rename without the fsync of the file before it and of the folder after it is the usual way to
lose an acknowledged write (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
Locks are `flock`: they end with their process, and work across containers.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import Unavailable

MAX_LINE_BYTES = 8 << 20  # larger checksummed texts are refused before they are read
_SEALED = re.compile(rb'\{"sha256": "([0-9a-f]{64})", (.*)\n', re.DOTALL)


def source_digest(data: bytes) -> str:
    """SHA-256, as hex."""
    return hashlib.sha256(data).hexdigest()


def dump_checksummed(body: Mapping[str, Any]) -> bytes:
    """Serialise to a line of JSON whose first field is the SHA-256 of the text after it."""
    rest = json.dumps(body, allow_nan=False)[1:].encode("ascii")
    return b'{"sha256": "%s", %s\n' % (source_digest(rest).encode(), rest)


def load_checksummed(sealed: bytes) -> dict[str, Any]:
    """Read what `dump_checksummed` wrote; ValueError, before any parsing, if one bit differs."""
    match = _SEALED.fullmatch(sealed)
    if not match or source_digest(match[2]) != match[1].decode():
        raise ValueError("does not match its own checksum")
    body: dict[str, Any] = json.loads(b"{" + match[2])
    return body


def read(path: str | Path, limit: int, folder: int | None = None) -> bytes:
    """Read a regular file; ValueError if it is missing, too large or something else."""
    try:
        # O_NONBLOCK, since a planted FIFO would hold us for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, dir_fd=folder)
    except FileNotFoundError:
        raise ValueError(f"{path}: missing") from None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise ValueError(f"{path}: is not a file") from error
    with closing(descriptor):
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: is not a file")
        if status.st_size > limit:
            raise ValueError(f"{path}: {status.st_size} bytes, at most {limit} expected")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)


def read_if_there(path: Path, limit: int = MAX_LINE_BYTES) -> bytes | None:
    """As `read`, but None if the file is missing."""
    try:
        path.lstat()
    except FileNotFoundError:
        return None
    return read(path, limit)


def write_new(path: Path, data: bytes) -> None:
    """Create a read-only file, durably."""
    with closing(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
    ) as file:
        _write_all(file, data)
        os.fsync(file)


def replace(path: Path, data: bytes) -> None:
    """Replace the content of a file atomically and durably; one caller at a time."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        write_new(draft, data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def append(path: Path, line: bytes) -> None:
    """Append a line, durably; an incomplete line before it stays a line of its own."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with closing(os.open(path, flags, 0o644)) as file:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        _write_all(file, b"\n" + line if torn else line)
        os.fsync(file)
    sync_directory(path.parent)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, durably."""
    if not path.parent.is_dir():
        make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)  # also if it was there: its maker may have died before this


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; the fsync of a file alone does not."""
    with closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY)) as folder:
        os.fsync(folder)


def open_directory(path: Path) -> int:
    """Open a directory; OSError for a symbolic link to one."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if it is free; it ends with `closing`, or with this process."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_same_file(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Unlock and close. Closing alone would leave the lock to a child forked meanwhile."""
    try:
        yield descriptor
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextmanager
def map_disk_errors() -> Iterator[None]:
    """Turn an OSError into Unavailable, with the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Unavailable(f"the registry's disk: {reason}", dependency="registry") from error
