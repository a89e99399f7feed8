"""The model registry: immutable versions on disk, deployed by moving one pointer.

    <root>/versions/<run_id>/{manifest.json, files…}
    <root>/deploy/…                                     see shared/registry/deployments.py

A version is written aside, synced and renamed, so it is there whole or not at all. No byte of it
is parsed before its hash matches: a damaged model ends the process that parses it (LightGBM
aborts), so `try` would come too late. The web processes write to deploy/ only; versions/ may be
mounted read-only for them.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import (
    Conflict,
    DamagedVersion,
    DeployConflict,
    NotFound,
    NothingToRollBack,
    Unavailable,
)
from shared.registry import deleted_users, durable_files
from shared.registry.deleted_users import DeletedUsers, Stamp
from shared.registry.deployments import Deployment, DeploymentLog, DeploymentState
from shared.registry.manifest import Manifest, StoredFile

__all__ = ["Deployment", "LoadedVersion", "Manifest", "ModelVersion", "Registry", "new_run_id"]

MANIFEST = "manifest.json"
MAX_FILE = 512 << 20  # bytes; more is refused before it is read
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)  # what reading a foreign file raises


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A stored version, described by its manifest alone.

    Attributes:
        manifest: of a damaged version it has only the run_id, and `created_at` is "".
        problem: why it is quarantined, or what is wrong with its manifest.
    """

    manifest: Manifest
    problem: str | None

    @property
    def run_id(self) -> str:
        """The id of the version."""
        return self.manifest.run_id

    @property
    def created_at(self) -> str:
        """ISO 8601, UTC; "" when the manifest is damaged."""
        return self.manifest.created_at

    @property
    def meta(self) -> Mapping[str, Any]:
        """The manifest's description of the training run."""
        return self.manifest.meta


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version read from disk: the bytes that were hashed."""

    manifest: Manifest
    manifest_sha256: str
    files: Mapping[str, bytes]


def new_run_id() -> str:
    """An id that sorts by time, such as 20250131T032300Z-1f2e3d4c."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


class Registry:
    """The versions below a directory; safe for any number of threads and processes.

    Every method raises Unavailable when the disk is full, read-only or broken, or when another
    process holds the deploy lock for longer than `lock_wait_s` seconds.
    """

    def __init__(self, root: Path, *, lock_wait_s: float = 10.0) -> None:
        self._root = root
        self._versions = root / "versions"
        self._log = DeploymentLog(root / "deploy", lock_wait_s)

    def save(
        self, files: Mapping[str, bytes], meta: Mapping[str, Any], *, run_id: str | None = None
    ) -> ModelVersion:
        """Store a new version, durably. Saving the same files under the same id is harmless.

        Raises:
            ValueError: a name, a size or the meta is not storable.
            Conflict: `run_id` is taken by other files.
        """
        run_id = run_id or new_run_id()
        names = [name for name in files if name != MANIFEST and _FILE_NAME.fullmatch(name)]
        if len(names) < len(files) or not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"not storable under these names: {run_id!r}, {sorted(files)!r}")
        manifest = Manifest(
            run_id,
            dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
            {
                name: StoredFile(len(data), durable_files.source_digest(data))
                for name, data in files.items()
            },
            dict(meta),
        )
        sealed = durable_files.dump_checksummed(manifest.to_json())
        if len(sealed) > durable_files.MAX_LINE_BYTES or any(
            len(d) > MAX_FILE for d in files.values()
        ):
            raise ValueError(f"version {run_id} has a file too large to be loaded again")
        with durable_files.map_disk_errors(), self._draft() as draft:
            for name, data in files.items():
                durable_files.write_new(draft / name, data)
            durable_files.write_new(draft / MANIFEST, sealed)
            durable_files.sync_directory(draft)
            try:
                draft.rename(self._versions / run_id)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if self.load(run_id).manifest.files != manifest.files:
                    raise Conflict(f"version {run_id} exists with other files") from error
            durable_files.sync_directory(self._versions)
        return ModelVersion(manifest, problem=None)

    def versions(self) -> list[ModelVersion]:
        """Every stored version, newest first; a damaged or quarantined one says so."""
        versions = []
        for run_id in self._listing():
            with suppress(NotFound):  # pruned since the listing
                versions.append(self.version(run_id))
        # The run_id has the second, the manifest the fraction.
        return sorted(versions, key=lambda one: (one.run_id[:16], one.created_at), reverse=True)

    def version(self, run_id: str) -> ModelVersion:
        """One version, by its manifest alone. Raises NotFound."""
        problem = self.quarantined(run_id)
        try:
            with durable_files.map_disk_errors(), self._reading(run_id) as folder:
                return ModelVersion(_read_manifest(folder, run_id, None)[1], problem)
        except (DamagedVersion, *_UNREADABLE) as error:
            return ModelVersion(Manifest(run_id, "", {}, {}), problem or str(error))

    def load(self, run_id: str, manifest_sha256: str | None = None) -> LoadedVersion:
        """Read a version; nothing is handed over, or parsed, before its hash matched.

        Raises:
            NotFound: there is no such version, or it is being removed.
            DamagedVersion: a file is not what was saved; the message names it.
        """
        with durable_files.map_disk_errors(), self._reading(run_id) as folder:
            try:
                sha256, manifest = _read_manifest(folder, run_id, manifest_sha256)
                listed = manifest.files
                # Names come from the folder's own listing, so none of them can lead out of it.
                for name in sorted({*listed, MANIFEST} ^ set(os.listdir(folder))):
                    raise ValueError(f"{name}: {'missing' if name in listed else 'not listed'}")
                files = {name: _read_hashed(folder, name, file) for name, file in listed.items()}
            except _UNREADABLE as error:
                raise DamagedVersion(f"version {run_id}: {error}", run_id=run_id) from error
        return LoadedVersion(manifest, sha256, files)

    def current(self) -> Deployment | None:
        """The live deploy, or None before the first one.

        Raises:
            DamagedVersion: CURRENT is damaged, or gone though versions were deployed. The next
                deploy or rollback puts that right.
        """
        with durable_files.map_disk_errors():
            return self._log.current()

    def history(self) -> list[Deployment]:
        """Every deploy and rollback, newest first."""
        with durable_files.map_disk_errors():
            return self._log.state().records[::-1]

    def rollback_stack(self) -> list[Deployment]:
        """The live deploy, then what one rollback would return to, then two, and so on."""
        with durable_files.map_disk_errors():
            return self._log.state().rollback_stack

    def deploy(
        self, run_id: str, *, by: str, why: str, expected_sequence: int | None = None
    ) -> Deployment:
        """Make a version the one that readers see next, in one step.

        Deploying the live version changes nothing and returns its deployment, so a caller may
        repeat a request whose answer was lost.

        Args:
            expected_sequence: deploy only if this is still the live sequence; 0 is "none yet".

        Raises:
            NotFound: there is no such version.
            DamagedVersion: it does not match its hashes, or is quarantined.
            DeployConflict: somebody else deployed since `expected_sequence`.
            InvalidInput: `by` or `why` is too long.
        """
        with durable_files.map_disk_errors(), self._log.locked():
            state = self._log.recover()
            manifest_sha256 = self._deployable(run_id, state)
            if state.live and state.live.run_id == run_id:
                return state.live
            if expected_sequence not in (None, state.sequence):
                message = f"deploy {state.sequence} is live, {expected_sequence} was expected"
                raise DeployConflict(message, sequence=state.sequence)
            return self._log.commit("deploy", run_id, manifest_sha256, state, by=by, why=why)

    def rollback(self, *, by: str, why: str) -> Deployment:
        """Return to the version that was live before this one; twice goes back two versions.

        Raises:
            NothingToRollBack: no version was live before this one.
            DamagedVersion: the version before is damaged, quarantined or no longer stored; it is
                named, and an older one can be deployed by its id.
        """
        with durable_files.map_disk_errors(), self._log.locked():
            state = self._log.recover()
            if len(state.rollback_stack) < 2:
                raise NothingToRollBack("no version was live before this one")
            run_id = state.rollback_stack[1].run_id
            try:
                manifest_sha256 = self._deployable(run_id, state)
            except NotFound as error:
                raise DamagedVersion(f"version {run_id}: no longer stored") from error
            return self._log.commit("rollback", run_id, manifest_sha256, state, by=by, why=why)

    def quarantine(self, run_id: str, reason: str) -> None:
        """Mark a version as not to be deployed; a person lifts it by deleting the marker file."""
        if run_id not in self._listing():
            raise _no_such(run_id)
        with durable_files.map_disk_errors(), self._log.locked():
            self._log.quarantine(run_id, reason)

    def quarantined(self, run_id: str) -> str | None:
        """Why this version must not be deployed, or None. Raises NotFound."""
        if not _RUN_ID.fullmatch(run_id):
            raise _no_such(run_id)
        with durable_files.map_disk_errors():
            return self._log.quarantined(run_id)

    def delete_user(self, user_id: str) -> None:
        """Make every process treat a user as nobody, where its version may have learned of them."""
        with durable_files.map_disk_errors(), self._log.locked():
            try:
                users = deleted_users.read(self._root)
            except ValueError as error:
                raise Unavailable(f"the registry's {error}", dependency="registry") from error
            now = dt.datetime.now(dt.UTC)
            read_at = [it.manifest.read_at for it in self.versions() if it.created_at]
            users = users.known_to(min(read_at, default=now)).with_user(user_id, now)
            deleted_users.write(self._root, users)

    def deleted_users(self, read_at: dt.datetime) -> DeletedUsers:
        """From whom a version may have learned that read its labels at that time.

        Raises:
            DamagedVersion: the file is damaged.
        """
        with durable_files.map_disk_errors():
            try:
                return deleted_users.read(self._root).known_to(read_at)
            except ValueError as error:
                raise DamagedVersion(str(error)) from error

    def deletions_stamp(self) -> Stamp | None:
        """Changes with each deleted user; None before the first."""
        with durable_files.map_disk_errors():
            return deleted_users.stamp(self._root)

    def prune(self, keep: int, *, spare: Collection[str] = ()) -> list[str]:
        """Remove the oldest versions; return their ids.

        The live version, the one before it, those being read and those to *spare* stay, and
        `keep` others.

        Raises:
            DamagedVersion: CURRENT is damaged. Nothing is removed then.
        """
        with durable_files.map_disk_errors(), self._log.locked():
            live = self._log.current()
            spared = {*spare, *((live.run_id, live.previous) if live else ())}
            others = [run_id for run_id in self._listing() if run_id not in spared]
            return [run_id for run_id in others[max(keep, 0) :] if self._remove(run_id)]

    def remove(self, run_ids: Collection[str]) -> list[str]:
        """Remove these versions, but for the live one and those being read; return their ids.

        Raises:
            DamagedVersion: as `prune` does.
        """
        with durable_files.map_disk_errors(), self._log.locked():
            live = self._log.current()
            gone = {*run_ids} - ({live.run_id} if live else set())
            return [run_id for run_id in self._listing() if run_id in gone and self._remove(run_id)]

    def _listing(self) -> list[str]:
        """Ids of the stored versions, newest first. The only source of names that are opened."""
        with durable_files.map_disk_errors(), suppress(FileNotFoundError):
            names = (path.name for path in self._versions.iterdir())
            return sorted(filter(_RUN_ID.fullmatch, names), reverse=True)
        return []

    def _deployable(self, run_id: str, state: DeploymentState) -> str:
        """The hash of the manifest, after checking every file; DamagedVersion or NotFound."""
        loaded = self.load(run_id, state.deployed_hash(run_id))
        reason = self._log.quarantined(run_id)
        if reason is not None:
            raise DamagedVersion(f"version {run_id}: quarantined: {reason}", run_id=run_id)
        return loaded.manifest_sha256

    @contextmanager
    def _reading(self, run_id: str) -> Iterator[int]:
        """The version's folder as a descriptor, locked so that `prune` leaves it alone."""
        if run_id not in self._listing():
            raise _no_such(run_id)
        path = self._versions / run_id
        try:
            folder = durable_files.open_directory(path)
        except FileNotFoundError:
            raise _no_such(run_id) from None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise DamagedVersion(f"version {run_id}: not a folder", run_id=run_id) from error
        with durable_files.closing(folder):
            # Only a removal is ever in the way, and one may have ended between open and lock.
            if not durable_files.try_lock(folder, shared=True) or not durable_files.is_same_file(
                folder, path
            ):
                raise _no_such(run_id)
            yield folder

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """A folder to write in, gone afterwards; if its owner dies, the next `save` sweeps it."""
        durable_files.make_directory(self._versions)
        with self._log.locked():
            for left in self._versions.glob(".tmp-*"):  # of processes that died
                self._remove(left.name)
            draft = self._versions / f".tmp-{secrets.token_hex(8)}"
            draft.mkdir()
            folder = durable_files.open_directory(draft)
            durable_files.try_lock(folder, shared=True)  # says "in use" to the sweep
        with durable_files.closing(folder):
            try:
                yield draft
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def _remove(self, name: str) -> bool:
        """Remove a folder of our own listing, unless it is in use or not really a folder."""
        try:
            folder = durable_files.open_directory(self._versions / name)
        except OSError:
            return False
        with durable_files.closing(folder):
            if not durable_files.try_lock(folder):
                return False
            trash = self._versions / f".tmp-{secrets.token_hex(8)}"
            (self._versions / name).rename(trash)
            durable_files.sync_directory(self._versions)
            shutil.rmtree(trash, ignore_errors=True)
        return True


def _no_such(run_id: str) -> NotFound:
    return NotFound(f"there is no version {run_id!r}")


def _read_manifest(folder: int, run_id: str, expected: str | None) -> tuple[str, Manifest]:
    """The manifest and its hash; ValueError if it is not the one expected."""
    sealed = durable_files.read(MANIFEST, durable_files.MAX_LINE_BYTES, folder)
    sha256 = durable_files.source_digest(sealed)
    if expected not in (None, sha256):
        raise ValueError(f"{MANIFEST}: is not the one that was deployed")
    try:
        manifest = Manifest.from_json(durable_files.load_checksummed(sealed))
    except ValueError as error:
        raise ValueError(f"{MANIFEST}: {error}") from error
    if manifest.run_id != run_id:
        raise ValueError(f"{MANIFEST}: belongs to version {manifest.run_id}")
    return sha256, manifest


def _read_hashed(folder: int, name: str, file: StoredFile) -> bytes:
    data = durable_files.read(name, MAX_FILE, folder)
    if len(data) != file.size:
        raise ValueError(f"{name}: {len(data)} bytes, {file.size} were saved")
    if durable_files.source_digest(data) != file.sha256:
        raise ValueError(f"{name}: does not match its hash")
    return data
