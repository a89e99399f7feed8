"""Model versions on disk, and the one pointer that says which of them is live.

    <root>/versions/<run_id>/{manifest.json, files…}     written once, never changed
    <root>/deploy/{CURRENT, history.jsonl, lock, quarantine/}

A version is written aside, synced and renamed, so it is there whole or not at all. CURRENT is
replaced by rename and is the only commit point: the history follows it and is repaired from it.
Manifest, pointer and history lines carry the SHA-256 of their own text, and no byte is parsed
before its hash matches: a damaged model ends the process that parses it (LightGBM aborts), so
`try` would come too late. Web processes need write access to deploy/ only; versions/ may be
mounted read-only. Locks are `flock`: they end with their holder, and hold across containers.
"""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from shared.errors import (
    Conflict,
    DamagedVersion,
    DeployConflict,
    FieldError,
    InvalidInput,
    NotFound,
    NothingToRollBack,
    Unavailable,
)
from shared.log import get_logger

MANIFEST = "manifest.json"
MAX_FILE = 512 << 20  # bytes; more is refused before it is read
MAX_SEALED = 8 << 20  # bytes of a manifest or a pointer
MAX_TEXT = {"by": 200, "why": 2000}  # characters
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SEALED = re.compile(rb'\{"sha256": "([0-9a-f]{64})", (.*)\n', re.DOTALL)
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Pointer:
    """One deploy. The text of CURRENT is the live one; the history has all of them."""

    sequence: int  # 1 for the first deploy, then one more each time, a rollback too
    run_id: str
    manifest_sha256: str
    previous: str | None  # run_id that a rollback from here returns to
    by: str
    why: str
    at: str  # ISO 8601, UTC
    action: str  # "deploy" or "rollback"

    @classmethod
    def parse(cls, sealed: bytes) -> Self:
        """Read back what `_seal(asdict(pointer))` wrote; ValueError if it is not that."""
        body = _unseal(sealed)
        try:
            return cls(**{field.name: body[field.name] for field in fields(cls)})
        except KeyError as missing:
            raise ValueError(f"has no {missing}") from None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """What the registry knows of a stored version without reading its files."""

    run_id: str
    created_at: str  # ISO 8601, UTC; "" when the manifest is damaged
    size: int  # bytes of all files
    meta: Mapping[str, Any]
    problem: str | None  # why it is quarantined, or what is wrong with its manifest


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A whole version: the very bytes that were hashed."""

    manifest: Mapping[str, Any]  # run_id, created_at, files: {name: {size, sha256}}, meta
    manifest_sha256: str
    files: dict[str, bytes]


def new_run_id() -> str:
    """An id that sorts by time: 20250131T032300Z-1f2e3d4c."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


class Registry:
    """Safe for any number of threads and processes; opens nothing until it is asked.

    Every method raises Unavailable when the disk does not do its part: full, read-only, broken,
    or another process has held the deploy lock for longer than `lock_wait_s` seconds.
    """

    def __init__(self, root: Path, *, lock_wait_s: float = 10.0) -> None:
        self._versions = root / "versions"
        self._deploy = root / "deploy"
        self._lock_wait_s = lock_wait_s

    def save(
        self, files: Mapping[str, bytes], meta: Mapping[str, Any], *, run_id: str | None = None
    ) -> ModelVersion:
        """Store a new version, durably. Saving the same files under the same id again is harmless.

        Raises:
            ValueError: a name, a size or the meta is not storable.
            Conflict: `run_id` is taken by other files.
        """
        run_id = run_id or new_run_id()
        names_ok = all(_FILE_NAME.fullmatch(name) and name != MANIFEST for name in files)
        if not names_ok or not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"not storable under these names: {run_id!r}, {sorted(files)!r}")
        listed = {name: {"size": len(d), "sha256": _digest(d)} for name, d in files.items()}
        created_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        manifest = {"run_id": run_id, "created_at": created_at, "files": listed, "meta": dict(meta)}
        sealed = _seal(manifest)
        if len(sealed) > MAX_SEALED or any(len(data) > MAX_FILE for data in files.values()):
            raise ValueError(f"version {run_id} has a file too large to be loaded again")
        with _storage(), self._draft() as draft:
            for name, data in files.items():
                _write_new(draft / name, data)
            _write_new(draft / MANIFEST, sealed)
            _sync_directory(draft)
            try:
                os.rename(draft, self._versions / run_id)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if self.load(run_id).manifest["files"] != listed:
                    raise Conflict(f"version {run_id} exists with other files") from error
            _sync_directory(self._versions)
        return _described(manifest, problem=None)

    def versions(self) -> list[ModelVersion]:
        """Every stored version, newest first; a damaged or quarantined one says so."""
        found = []
        for run_id in self._listing():
            try:
                found.append(self.version(run_id))
            except NotFound:  # pruned since the listing
                continue
        return found

    def version(self, run_id: str) -> ModelVersion:
        """One version, by its manifest alone. Raises NotFound."""
        problem = self.quarantined(run_id)
        with _storage(), self._reading(run_id) as folder:
            try:
                _, manifest = _read_manifest(folder, run_id, None)
            except ValueError as error:
                return ModelVersion(run_id, "", 0, {}, problem or str(error))
        return _described(manifest, problem)

    def load(self, run_id: str, manifest_sha256: str | None = None) -> LoadedVersion:
        """Read a version; nothing is handed over, or parsed, before its hash matched.

        Raises:
            NotFound: there is no such version, or it is being removed.
            DamagedVersion: a file is not what was saved; the message names it.
        """
        with _storage(), self._reading(run_id) as folder:
            try:
                digest, manifest = _read_manifest(folder, run_id, manifest_sha256)
                listed = manifest["files"]
                # Names come from the folder's own listing, so none of them can lead out of it.
                for name in sorted({*listed, MANIFEST} ^ set(os.listdir(folder))):
                    raise ValueError(f"{name}: {'missing' if name in listed else 'not listed'}")
                files = {name: _read_hashed(folder, name, **item) for name, item in listed.items()}
            except ValueError as error:
                raise DamagedVersion(f"version {run_id}: {error}", run_id=run_id) from error
        return LoadedVersion(manifest, digest, files)

    def current(self) -> Pointer | None:
        """The live deploy, or None before the first one.

        Raises:
            DamagedVersion: CURRENT is damaged, or gone though versions were deployed. The next
                deploy or rollback puts that right.
        """
        pointer = self._pointer()
        if pointer is None and self._logged():
            pointer = self._pointer()  # the first deploy may have come between the two looks
            if pointer is None:
                raise DamagedVersion("CURRENT: missing, though versions were deployed")
        return pointer

    def history(self) -> list[Pointer]:
        """Every deploy and rollback, newest first."""
        return self._state()[1][::-1]

    def lineage(self) -> list[Pointer]:
        """The live deploy, then what one rollback would return to, then two, and so on."""
        live, records = self._state()
        return _lineage(live, records)

    def deploy(
        self, run_id: str, *, by: str, why: str, expected_sequence: int | None = None
    ) -> Pointer:
        """Make a version the one that readers see next, in one step.

        Deploying what is already live changes nothing and returns the live pointer, so a caller
        who died before he heard the answer may ask again.

        Args:
            expected_sequence: deploy only if this is still the live sequence; 0 is "none yet".

        Raises:
            NotFound: there is no such version.
            DamagedVersion: it does not match its hashes, or is quarantined.
            DeployConflict: somebody else deployed since `expected_sequence`.
        """
        with self._deploying(by, why):
            live, records = self._repaired_state()
            if live and live.run_id == run_id:
                self._verified(run_id, records)
                _sync_directory(self._deploy)  # whoever wrote it may have died before this
                return live
            found = live.sequence if live else 0
            if expected_sequence not in (None, found):
                raise DeployConflict(
                    f"deploy {found} is live, {expected_sequence} was expected", sequence=found
                )
            line = _lineage(live, records)
            return self._point(run_id, line, records, by=by, why=why, action="deploy")

    def rollback(self, *, by: str, why: str) -> Pointer:
        """Return to the version that was live before this one; twice goes back two versions.

        Raises:
            NothingToRollBack: no version was live before this one.
            DamagedVersion: the version before is damaged, quarantined or no longer stored; it is
                named, and an older one can be deployed by its id.
        """
        with self._deploying(by, why):
            live, records = self._repaired_state()
            _, *line = _lineage(live, records) or [None]
            if not line:
                raise NothingToRollBack("no version was live before this one")
            run_id = line[0].run_id
            try:
                return self._point(run_id, line[1:], records, by=by, why=why, action="rollback")
            except NotFound as error:
                raise DamagedVersion(
                    f"version {run_id}: no longer stored", run_id=run_id
                ) from error

    def quarantine(self, run_id: str, reason: str) -> None:
        """Mark a version as not to be deployed; the first reason stays.

        A person lifts it by deleting `deploy/quarantine/<run_id>.json`. Raises NotFound.
        """
        if run_id not in self._listing():
            raise NotFound(f"there is no version {run_id!r}")
        with self._deploying():
            if self.quarantined(run_id) is None:
                _make_directory(self._deploy / "quarantine")
                _replace(self._marker(run_id), _seal({"reason": reason[:2000]}))

    def quarantined(self, run_id: str) -> str | None:
        """Why this version must not be deployed, or None."""
        if not _RUN_ID.fullmatch(run_id):
            raise NotFound(f"there is no version {run_id!r}")
        with _storage():
            sealed = _read_if_there(self._marker(run_id))
        try:
            return None if sealed is None else str(_unseal(sealed)["reason"])
        except (ValueError, KeyError):
            return "quarantined; the reason is not readable"

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest versions; return their ids.

        Kept are the live version, the one before it, those being read, and `keep` others.

        Raises:
            DamagedVersion: CURRENT is damaged. Nothing is removed while it is unsure what is live.
        """
        with self._deploying():
            live = self.current()
            held = (live.run_id, live.previous) if live else ()
            others = [run_id for run_id in self._listing() if run_id not in held]
            return [run_id for run_id in others[max(keep, 0) :] if self._remove(run_id)]

    def _listing(self) -> list[str]:
        """Ids of the stored versions, newest first. The only source of names that are opened."""
        with _storage():
            names = os.listdir(self._versions) if self._versions.is_dir() else []
        return sorted(filter(_RUN_ID.fullmatch, names), reverse=True)

    def _marker(self, run_id: str) -> Path:
        return self._deploy / "quarantine" / f"{run_id}.json"

    @contextmanager
    def _reading(self, run_id: str) -> Iterator[int]:
        """The version's folder as a descriptor, locked so that `prune` leaves it alone."""
        gone = NotFound(f"there is no version {run_id!r}")
        if run_id not in self._listing():
            raise gone
        path = self._versions / run_id
        try:
            folder = _open_directory(path)
        except FileNotFoundError:
            raise gone from None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise DamagedVersion(f"version {run_id}: not a folder", run_id=run_id) from error
        with _closing(folder):
            # Only a removal holds it otherwise, and that may have ended between open and lock.
            if not _try_lock(folder, fcntl.LOCK_SH) or not _is_at(folder, path):
                raise gone
            yield folder

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """A folder to write in, swept by the next `save` if this process dies; gone afterwards."""
        _make_directory(self._versions)
        versions = _open_directory(self._versions)
        with _closing(versions):
            self._wait_for(versions)
            self._sweep()
            draft = self._versions / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"
            draft.mkdir()
            folder = _open_directory(draft)
            _try_lock(folder, fcntl.LOCK_SH)  # says "in use"; a pid means nothing to a container
        with _closing(folder):
            try:
                yield draft
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what dead writers and removers left behind."""
        for name in os.listdir(self._versions):
            if name.startswith((".tmp-", ".trash-")):
                self._remove(name)

    def _remove(self, name: str) -> bool:
        """Remove one folder of our own listing, unless it is in use or no real folder."""
        try:
            folder = _open_directory(self._versions / name)
        except OSError:
            return False
        with _closing(folder):
            if not _try_lock(folder, fcntl.LOCK_EX):
                return False
            trash = self._versions / f".trash-{secrets.token_hex(8)}"
            os.rename(self._versions / name, trash)
            _sync_directory(self._versions)
            shutil.rmtree(trash, ignore_errors=True)
        return True

    def _pointer(self) -> Pointer | None:
        with _storage():
            sealed = _read_if_there(self._deploy / "CURRENT")
        try:
            return None if sealed is None else Pointer.parse(sealed)
        except ValueError as error:
            raise DamagedVersion(f"CURRENT: {error}") from error

    def _logged(self) -> list[Pointer]:
        """What history.jsonl holds, as far as it is readable."""
        with _storage():
            text = _read_if_there(self._deploy / "history.jsonl", MAX_FILE) or b""
        found = []
        for line in text.splitlines(keepends=True):
            try:
                found.append(Pointer.parse(line))
            except ValueError:  # a torn line; the one who wrote it died
                continue
        return found

    def _state(self) -> tuple[Pointer | None, list[Pointer]]:
        """CURRENT, or None if there is no whole one; and every known deploy, oldest first."""
        records = {record.sequence: record for record in self._logged()}
        try:
            live = self._pointer()
        except DamagedVersion:
            live = None
        if live:
            records[live.sequence] = live
        return live, [records[sequence] for sequence in sorted(records)]

    def _repaired_state(self) -> tuple[Pointer | None, list[Pointer]]:
        """The state, after adding a live pointer whose writer died before he could log it."""
        live, records = self._state()
        if live and live not in self._logged():
            _append(self._deploy / "history.jsonl", _seal(asdict(live)))
        return live, records

    @contextmanager
    def _deploying(self, by: str = "", why: str = "") -> Iterator[None]:
        """Hold the deploy lock."""
        for field, text in (("by", by), ("why", why)):
            if len(text) > MAX_TEXT[field]:
                message = f"must have at most {MAX_TEXT[field]} characters"
                raise InvalidInput(f"{field} {message}", [FieldError(field, message)])
        with _storage():
            _make_directory(self._deploy)
            flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW
            lock = os.open(self._deploy / "lock", flags, 0o666)
            with _closing(lock):
                self._wait_for(lock)
                yield

    def _wait_for(self, lock: int) -> None:
        deadline = time.monotonic() + self._lock_wait_s
        while not _try_lock(lock, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise Unavailable("the registry is locked by another process", dependency="registry")
            time.sleep(0.01)

    def _verified(self, run_id: str, records: list[Pointer]) -> str:
        """The hash of the manifest of a version that may be deployed, every file checked."""
        seen = [record.manifest_sha256 for record in records if record.run_id == run_id]
        loaded = self.load(run_id, seen[-1] if seen else None)
        reason = self.quarantined(run_id)
        if reason is not None:
            raise DamagedVersion(f"version {run_id}: quarantined: {reason}", run_id=run_id)
        return loaded.manifest_sha256

    def _point(
        self,
        run_id: str,
        below: list[Pointer],
        records: list[Pointer],
        *,
        by: str,
        why: str,
        action: str,
    ) -> Pointer:
        """Commit: from here on `run_id` is live, and a rollback returns to the first of `below`."""
        pointer = Pointer(
            sequence=records[-1].sequence + 1 if records else 1,
            run_id=run_id,
            manifest_sha256=self._verified(run_id, records),
            previous=below[0].run_id if below else None,
            by=by,
            why=why,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            action=action,
        )
        _replace(self._deploy / "CURRENT", _seal(asdict(pointer)))
        try:
            _append(self._deploy / "history.jsonl", _seal(asdict(pointer)))
        except OSError as error:  # it is deployed all the same; the next deploy adds the line
            _log.warning("registry.history_not_written", run_id=run_id, reason=error.strerror)
        return pointer


def _lineage(live: Pointer | None, records: list[Pointer]) -> list[Pointer]:
    """Deploys as a stack, its top first: a deploy puts one on, a rollback takes one off."""
    stack: list[Pointer] = []
    for record in records:
        if live and record.sequence > live.sequence:  # an older CURRENT was put back by hand
            break
        if record.action == "rollback":
            del stack[-2:]
        stack.append(record)
    return stack[::-1]


def _described(manifest: Mapping[str, Any], problem: str | None) -> ModelVersion:
    size = sum(item["size"] for item in manifest["files"].values())
    return ModelVersion(
        manifest["run_id"], manifest["created_at"], size, manifest["meta"], problem
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _seal(body: Mapping[str, Any]) -> bytes:
    """A line of JSON whose first field is the hash of the text after it."""
    rest = json.dumps(body, allow_nan=False)[1:].encode("ascii")
    return b'{"sha256": "%s", %s\n' % (_digest(rest).encode(), rest)


def _unseal(sealed: bytes) -> dict[str, Any]:
    """Read back what `_seal` wrote; ValueError if one bit of it differs."""
    match = _SEALED.fullmatch(sealed)
    if not match or _digest(match[2]) != match[1].decode():
        raise ValueError("does not match its own checksum")
    body: dict[str, Any] = json.loads(b"{" + match[2])
    return body


def _read_manifest(
    folder: int, run_id: str, expected: str | None
) -> tuple[str, dict[str, Any]]:
    """The hash of the manifest and what it says; ValueError if it is not the one expected."""
    sealed = _read(MANIFEST, MAX_SEALED, folder)
    digest = _digest(sealed)
    if expected not in (None, digest):
        raise ValueError(f"{MANIFEST}: is not the one that was deployed")
    try:
        manifest = _unseal(sealed)
    except ValueError as error:
        raise ValueError(f"{MANIFEST}: {error}") from error
    if manifest["run_id"] != run_id:
        raise ValueError(f"{MANIFEST}: belongs to version {manifest['run_id']}")
    return digest, manifest


def _read_hashed(folder: int, name: str, size: int, sha256: str) -> bytes:
    data = _read(name, min(size, MAX_FILE), folder)
    if len(data) != size:
        raise ValueError(f"{name}: {len(data)} bytes, {size} were saved")
    if _digest(data) != sha256:
        raise ValueError(f"{name}: does not match its hash")
    return data


def _read(path: str | Path, limit: int, folder: int | None = None) -> bytes:
    """All bytes of a regular file; ValueError if it is missing, too large or something else."""
    try:
        # O_NONBLOCK, since a planted FIFO would hold us for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, dir_fd=folder)
    except FileNotFoundError:
        raise ValueError(f"{path}: missing") from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ValueError(f"{path}: is a symbolic link") from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: is not a file")
        if status.st_size > limit:
            raise ValueError(f"{path}: {status.st_size} bytes, at most {limit} expected")
        return file.read(limit + 1)
