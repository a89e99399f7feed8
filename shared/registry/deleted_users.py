"""Deleted users: models that may have learned from them treat them as nobody, at once.

A version is immutable and stays for some days. The registry's file `deleted_users` says whom it
must not know any more. It has keyed hashes with the time of the deletion, no ids, and its own key.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.features.keyed_hash import keyed_hash
from shared.registry import durable_files

FILE = "deleted_users"
# A run that read its labels this soon after a deletion may have read rows that were being deleted.
DELETION_TIME = dt.timedelta(hours=1)

Stamp = tuple[int, int, int]  # changes whenever the file does


@dataclass(frozen=True, slots=True)
class DeletedUsers:
    """Who was deleted, and when: keyed hashes of their ids, and ISO times."""

    key: bytes = b""
    times: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.times)

    def __contains__(self, user_id: object) -> bool:
        return isinstance(user_id, str) and user_id != "" and self._hash(user_id) in self.times

    def known_to(self, read_at: dt.datetime) -> DeletedUsers:
        """Those from whom a version may have learned that read its labels at that time."""
        latest = (read_at - DELETION_TIME).isoformat()
        return DeletedUsers(self.key, {it: at for it, at in self.times.items() if at >= latest})

    def with_user(self, user_id: str, now: dt.datetime) -> DeletedUsers:
        """These and one more."""
        users = DeletedUsers(self.key or secrets.token_bytes(16), self.times)
        return DeletedUsers(users.key, {**self.times, users._hash(user_id): now.isoformat()})

    def _hash(self, user_id: str) -> str:
        return f"{keyed_hash(user_id, 'deleted user', self.key):016x}"


def stamp(folder: Path) -> Stamp | None:
    """What `read` would read, without reading it; None without a file."""
    try:
        status = os.stat(folder / FILE)
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def read(folder: Path) -> DeletedUsers:
    """The deleted users of a registry; ValueError if the file is damaged."""
    sealed = durable_files.read_if_there(folder / FILE)
    if sealed is None:
        return DeletedUsers()
    try:
        body = durable_files.load_checksummed(sealed)
        return DeletedUsers(bytes.fromhex(body["key"]), body["users"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{FILE}: not of the known form") from error


def write(folder: Path, users: DeletedUsers) -> None:
    """Replace the file, durably; one caller at a time."""
    body = {"key": users.key.hex(), "users": dict(users.times)}
    durable_files.replace(folder / FILE, durable_files.dump_checksummed(body))
