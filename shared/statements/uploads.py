"""Uploads: statements that were sent to the API, compressed in PostgreSQL for 30 days.

The rows are in the transactions; the file stays so that its annotated copy can be downloaded.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import re
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, undefer

from shared.db.engine import transaction
from shared.db.tables import Import
from shared.errors import NotFound
from shared.statements.schema import ImportOptions

RETENTION = dt.timedelta(days=30)
_UNSAFE = re.compile(r"[^\w.() -]")  # characters of a file's name


class Upload(NamedTuple):
    """A file as it is sent: its name, its bytes and the options of its import."""

    name: str
    content: bytes
    options: ImportOptions


def store(session: Session, file: Upload) -> str:
    """Store the file, and return the id of this import, the same for the same file and options."""
    options = {name: value for name, value in asdict(file.options).items() if value}
    options.pop("user", None)  # a column of the table
    options.pop("rejects", None)
    named = json.dumps([file.name, file.options.user, options], sort_keys=True).encode()
    import_id = hashlib.sha256(named + b"\0" + file.content).hexdigest()[:32]
    new = insert(Import).values(
        id=import_id,
        user_id=file.options.user or "",
        name=file.name,
        options=options,
        content=gzip.compress(file.content, 6),
    )
    session.execute(
        new.on_conflict_do_update(index_elements=["id"], set_={"created_at": func.now()})
    )
    return import_id


def delete_expired(session: Session) -> None:
    """Delete the files that are older than RETENTION."""
    session.execute(delete(Import).where(Import.created_at < func.now() - RETENTION))


class UploadInfo(NamedTuple):
    """An import without its file."""

    import_id: str
    name: str
    user_id: str
    created_at: dt.datetime
    imported: bool  # its rows are stored


_MISSING = "There is no such import, or no longer"
_IS_RECENT = Import.created_at >= func.now() - RETENTION
_INFO = select(
    Import.id, Import.name, Import.user_id, Import.created_at, Import.placed.is_not(None)
).where(_IS_RECENT)


def get(session: Session, import_id: str) -> UploadInfo:
    """One import.

    Raises:
        NotFound: there is none of this id, or no longer.
    """
    row = session.execute(_INFO.where(Import.id == import_id)).one_or_none()
    if row is None:
        raise NotFound(_MISSING)
    return UploadInfo(*row)


def newest(session: Session, limit: int) -> list[UploadInfo]:
    """The newest imports first."""
    rows = session.execute(_INFO.order_by(Import.created_at.desc(), Import.id).limit(limit))
    return [UploadInfo(*row) for row in rows]


class OpenUpload(NamedTuple):
    """An import's file, decompressed, and the transactions that its lines became."""

    path: Path
    options: ImportOptions
    row_ids: Sequence[tuple[int, int]]  # line and transaction's id, in the file's order


@contextmanager
def open_upload(engine: Engine, import_id: str) -> Iterator[OpenUpload]:
    """The file in a temporary folder, which is removed at the end of the block.

    Raises:
        NotFound: there is none of this id, or no longer.
    """
    with transaction(engine) as session:
        query = select(Import).where(Import.id == import_id, _IS_RECENT)
        row = session.scalar(query.options(undefer(Import.content), undefer(Import.placed)))
    if row is None:
        raise NotFound(_MISSING)
    numbers = array("q")
    numbers.frombytes(gzip.decompress(row.placed) if row.placed else b"")
    row_ids = list(zip(numbers[::2], numbers[1::2], strict=True))
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        path = Path(folder) / safe_name(row.name)
        path.write_bytes(gzip.decompress(row.content))
        yield OpenUpload(path, ImportOptions(user=row.user_id or None, **row.options), row_ids)


@contextmanager
def lock(engine: Engine, import_id: str) -> Iterator[None]:
    """Lock the file, so that neither it nor its user is deleted within the block.

    Raises:
        NotFound: there is none of this id, or no longer.
    """
    with transaction(engine) as session:
        query = select(Import.id).where(Import.id == import_id)
        if session.scalar(query.with_for_update(read=True, key_share=True)) is None:
            raise NotFound(_MISSING)
        yield


def record_result(
    session: Session, import_id: str, row_ids: Sequence[tuple[int, int]], rejects: bytes | None
) -> None:
    """Store the transactions of the lines, and the rejects, unless the file was deleted."""
    row = session.get(Import, import_id, with_for_update={"key_share": True})  # as `lock` allows
    if row is not None:
        numbers = array("q", [number for pair in row_ids for number in pair])
        row.placed = gzip.compress(numbers.tobytes(), 1)
        row.rejects = gzip.compress(rejects) if rejects else None


def load_rejects(session: Session, import_id: str) -> bytes:
    """The rows that were not imported, as a CSV file.

    Raises:
        NotFound: there is no such import, or it has no rejects.
    """
    packed = session.scalar(select(Import.rejects).where(Import.id == import_id, _IS_RECENT))
    if packed is None:
        raise NotFound("There is no such import, or none of its rows was refused")
    return gzip.decompress(packed)


def safe_name(name: str) -> str:
    """A file's name, made valid for any file system and for an HTTP header."""
    bare = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")
    # The limit of most file systems is 255 bytes.
    return bare.encode()[-100:].decode(errors="ignore").strip(". ") or "file.csv"
