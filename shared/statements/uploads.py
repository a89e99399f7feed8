"""Files that were brought to the page: kept packed in PostgreSQL, which web and workers share.

What became of the rows is in the transactions; the file stays for a while so that it can be given
back with its categories.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import re
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, undefer

from shared.db.engine import transaction
from shared.db.tables import Import
from shared.errors import NotFound
from shared.statements.schema import ImportOptions

RETENTION = dt.timedelta(days=30)
_NAME = re.compile(r"[^\w.() -]")  # what a file's name may not hold here


class Upload(NamedTuple):
    """A file as somebody brings it: its name there, its bytes, what he says of it."""

    name: str
    content: bytes
    options: ImportOptions


def store(session: Session, file: Upload) -> str:
    """Keep the file; give the id of this import."""
    said = _as_json(file.options)
    named = json.dumps([file.name, file.options.user, said], sort_keys=True).encode()
    import_id = hashlib.sha256(named + b"\0" + file.content).hexdigest()[:32]
    new = insert(Import).values(
        id=import_id,
        user_id=file.options.user or "",
        name=file.name,
        options=said,
        content=gzip.compress(file.content, 6),
    )
    session.execute(
        new.on_conflict_do_update(index_elements=["id"], set_={"created_at": func.now()})
    )
    return import_id


def delete_expired(session: Session) -> None:
    """Delete the files that were kept for long enough."""
    session.execute(delete(Import).where(Import.created_at < func.now() - RETENTION))


class UploadInfo(NamedTuple):
    """What is known of an import without reading its file."""

    import_id: str
    name: str
    user_id: str
    created_at: dt.datetime
    imported: bool  # its rows are stored


_YOUNG = Import.created_at >= func.now() - RETENTION
_KEPT = select(
    Import.id, Import.name, Import.user_id, Import.created_at, Import.placed.is_not(None)
).where(_YOUNG)


def get(session: Session, import_id: str) -> UploadInfo:
    """One import.

    Raises:
        NotFound: there is none of this id, or no longer.
    """
    found = session.execute(_KEPT.where(Import.id == import_id)).one_or_none()
    if found is None:
        raise NotFound("There is no such import, or no longer")
    return UploadInfo(*found)


def newest(session: Session, limit: int) -> list[UploadInfo]:
    """The newest ones."""
    found = session.execute(_KEPT.order_by(Import.created_at.desc(), Import.id).limit(limit))
    return [UploadInfo(*row) for row in found]


class OpenUpload(NamedTuple):
    """An import's file, unpacked, and which transaction each line of it became."""

    path: Path
    options: ImportOptions
    row_ids: Sequence[tuple[int, int]]  # line, transaction's id; in the file's order


@contextmanager
def open_upload(engine: Engine, import_id: str) -> Iterator[OpenUpload]:
    """The file in a folder that goes with the block.

    Raises:
        NotFound: there is none of this id, or no longer.
    """
    with transaction(engine) as session:
        own = select(Import).where(Import.id == import_id, _YOUNG)
        found = session.scalar(own.options(undefer(Import.content), undefer(Import.placed)))
    if found is None:
        raise NotFound("There is no such import, or no longer")
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        path = Path(folder) / safe_name(found.name)
        path.write_bytes(gzip.decompress(found.content))
        yield OpenUpload(path, _options(found), _places(found.placed))


@contextmanager
def lock(engine: Engine, import_id: str) -> Iterator[None]:
    """Inside, nobody deletes the file, and so its user.

    Raises:
        NotFound: there is none of this id, or no longer.
    """
    with transaction(engine) as session:
        own = select(Import.id).where(Import.id == import_id)
        if session.scalar(own.with_for_update(read=True, key_share=True)) is None:
            raise NotFound("There is no such import, or no longer")
        yield


def record_result(
    session: Session, import_id: str, placed: Sequence[tuple[int, int]], rejects: bytes | None
) -> None:
    """Write down what became of the lines; of a file that has gone meanwhile, nothing."""
    key = {"key_share": True}  # beside `held`
    found = session.get(Import, import_id, with_for_update=key)
    if found is not None:
        flat = array("q", [number for pair in placed for number in pair])
        found.placed = gzip.compress(flat.tobytes(), 1)
        found.rejects = gzip.compress(rejects) if rejects else None


def load_rejects(session: Session, import_id: str) -> bytes:
    """The rows that were not taken, as a CSV file.

    Raises:
        NotFound: there is no such import, or all of its rows were taken.
    """
    packed = session.scalar(select(Import.rejects).where(Import.id == import_id, _YOUNG))
    if packed is None:
        raise NotFound("There is no such import, or none of its rows was refused")
    return gzip.decompress(packed)


def safe_name(name: str) -> str:
    """The name of a file as one that can be given to any file system, and in a header."""
    bare = _NAME.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")
    # A file system counts bytes, of which most take 255.
    return bare.encode()[-100:].decode(errors="ignore").strip(". ") or "file.csv"


def _as_json(options: ImportOptions) -> dict[str, Any]:
    """What was said; whose it is has a column of its own."""
    said = asdict(options)
    return {key: said[key] for key in said if key not in ("user", "rejects") and said[key]}


def _options(found: Import) -> ImportOptions:
    said: Mapping[str, Any] = found.options
    return ImportOptions(user=found.user_id or None, **said)


def _places(packed: bytes | None) -> list[tuple[int, int]]:
    flat = array("q")
    flat.frombytes(gzip.decompress(packed) if packed else b"")
    return list(zip(flat[::2], flat[1::2], strict=True))
