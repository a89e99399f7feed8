"""/ml/v2/imports: a bank's CSV file, looked at, taken, and given back with its categories."""

from __future__ import annotations

import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from shared.db.engine import transaction
from shared.errors import Conflict, FieldError, InvalidInput, NotATable
from shared.jobs import requests as job_requests
from shared.statements import preview, uploads
from shared.statements.annotated_csv import Rows, is_copy, needs_bom
from shared.statements.cell_parsers import find_date_format, find_encoding, parse_currency
from shared.statements.column_names import FIELDS
from shared.statements.layout import DELIMITERS
from shared.statements.reader import Table, open_statement
from shared.statements.schema import ImportOptions
from shared.statements.uploads import Upload
from shared.suggestions import service as suggestion_service
from shared.suggestions import statement_rows
from web.http import parsing, schemas
from web.http.auth import caller
from web.http.context import services
from web.http.job_responses import accepted_response, idempotency_key
from web.http.openapi import documented
from web.http.problems import TooLarge, WrongContentType
from web.http.schemas import Answer, Body, Identity, Text, Timestamp

bp = Blueprint("imports", __name__, url_prefix="/ml/v2/imports")

FILE_MAX_BYTES = 32 * 1024 * 1024
SHOWN = 20  # of the newest imports


_HERE = (
    (re.compile(r"name (?:it|the \w+ column) with --map (\w+)=COLUMN"), r"say which is the \1"),
    (re.compile(r"--map (\w+)="), r"the column of \1, "),
    (re.compile(r"; --[\w-]+ overrides"), ""),
    (re.compile(r"--(\w+)"), r"\1"),
)


def _date_format(text: str) -> str:
    find_date_format(text)
    return text


def _delimiter(value: Any) -> Any:
    words = {word: char for char, word in DELIMITERS.items()}
    return words.get(value, value) if isinstance(value, str) else value


class ImportRequest(Body):
    """What is said of the file; all that is left out is found in it."""

    user_id: Identity | None = Field(None, description="whose transactions these are")
    columns: dict[Literal[FIELDS], Text] = Field(  # type: ignore[valid-type]
        default_factory=dict, description="field to column; '' leaves the field out"
    )
    delimiter: Annotated[Literal[",", ";", "\t", "|"], BeforeValidator(_delimiter)] | None = None
    encoding: Annotated[str, AfterValidator(find_encoding)] | None = None
    date_format: Annotated[str, AfterValidator(_date_format)] | None = None
    decimal: Literal[".", ","] | None = None
    sign: Literal["spend-positive", "spend-negative"] | None = None
    currency: Annotated[str, AfterValidator(parse_currency)] | None = None
    account: Identity | None = None


class AskedImport(schemas.AcceptedJob):
    """Follow `status_url`; the file is kept as `import_id`."""

    import_id: str


class KeptImport(Answer):
    import_id: str
    name: str
    user_id: str | None
    created_at: Timestamp
    imported: bool = Field(description="its rows are stored; before, there is nothing to download")


class KeptImports(Answer):
    imports: list[KeptImport]


OPTIONS = TypeAdapter(ImportRequest)


@bp.post("/look")
@documented(upload=ImportRequest, answer=preview.Preview)
def preview_import() -> ResponseReturnValue:
    """What a file is taken for, before anything is stored."""
    brought = _read_upload()
    with tempfile.TemporaryDirectory(prefix="look-") as folder:
        path = Path(folder) / uploads.safe_name(brought.name)
        path.write_bytes(brought.content)
        seen = preview.preview(_table(path, brought.options))
    detected = [_check_name(fact) for fact in seen.detected]
    return jsonify(replace(seen, name=brought.name, detected=detected))


@bp.post("")
@documented(
    upload=ImportRequest,
    answer=AskedImport,
    status=202,
    errors=(503,),
    idempotent_by_key=True,
)
def upload_import() -> ResponseReturnValue:
    """Have a file's transactions stored and suggested for; the file is kept for 30 days."""
    brought, key = _read_upload(), idempotency_key()
    with tempfile.TemporaryDirectory(prefix="look-") as folder:
        path = Path(folder) / uploads.safe_name(brought.name)
        path.write_bytes(brought.content)
        _table(path, brought.options)
    own = services()
    job = job_requests.request_import(
        own.engine, own.publisher, requested_by=caller(), file=brought, idempotency_key=key
    )
    return accepted_response(job, import_id=job.params["import_id"])


@bp.get("")
@documented(answer=KeptImports, errors=(503,))
def list_imports() -> ResponseReturnValue:
    """The files that are kept, the newest first."""
    with transaction(services().engine) as session:
        found = uploads.newest(session, SHOWN)
    return jsonify(KeptImports(imports=[_kept(it) for it in found]))


def _kept(found: uploads.UploadInfo) -> KeptImport:
    return KeptImport(**found._asdict() | {"user_id": found.user_id or None})


@bp.get("/<import_id>/categorized.csv")
@documented(answer="text/csv", errors=(404, 409, 503))
def categorized_file(import_id: str) -> ResponseReturnValue:
    """The file with category, confidence, source and reason of each row, as they are now."""
    with transaction(services().engine) as session:
        found = uploads.get(session, import_id)
    if not found.imported:
        raise Conflict("The file is not imported yet, or its import failed: see its job")
    return _file(_written(import_id), found.name, "categorized")


@bp.get("/<import_id>/rejects.csv")
@documented(answer="text/csv", errors=(404, 503))
def rejects_file(import_id: str) -> ResponseReturnValue:
    """The rows that were not taken, each with its line and why."""
    with transaction(services().engine) as session:
        name = uploads.get(session, import_id).name
        content = uploads.load_rejects(session, import_id)
    return _file(iter([content]), name, "rejects")


def _written(import_id: str) -> Iterator[bytes]:
    """The copy, page by page; what is read of PostgreSQL is held for no longer than a page."""
    own = services()

    def pages() -> Iterator[bytes]:
        with uploads.open_upload(own.engine, import_id) as file:
            table = open_statement(file.path, file.options)
            text = io.StringIO(newline="")
            rows = Rows(text, table, mark=needs_bom(table))
            heard_in = partial(
                suggestion_service.serving_context, own.live_model, own.challenger, own.settings
            )
            lines = statement_rows.annotate_rows(
                table,
                file.row_ids,
                lambda ids: statement_rows.annotate(own.engine, heard_in, ids)[0],
            )
            while True:
                page = list(islice(lines, statement_rows.PAGE))
                for line in page:
                    rows.add(line.cells, line.ours)
                yield text.getvalue().encode("utf-8", "surrogateescape")
                text.seek(0)
                text.truncate()
                if not page:
                    return

    return pages()


def _file(content: Iterator[bytes], name: str, kind: str) -> Response:
    stem = re.sub(r"(\.csv)?(\.gz)?$", "", uploads.safe_name(name), flags=re.IGNORECASE)
    answer = Response(content, mimetype="text/csv")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{stem}.{kind}.csv")
    return answer


def _read_upload() -> Upload:
    """The file of the request, and what is said of it."""
    request.max_content_length = FILE_MAX_BYTES
    if request.mimetype != "multipart/form-data":
        raise WrongContentType("Send a form with a file: multipart/form-data")
    if request.content_length is None:
        raise _wrong("(body)", "needs a Content-Length")
    file = request.files.get("file")
    if file is None or not file.filename:
        raise _wrong("file", "is needed: a CSV file")
    try:
        said = OPTIONS.validate_json(request.form.get("options") or "{}")
    except ValidationError as error:
        raise parsing.invalid(error) from None
    options = ImportOptions(
        user=said.user_id,
        **said.model_dump(exclude={"user_id"}, exclude_none=True),
    )
    content = file.read()
    _check_unpacked(content)
    return Upload(file.filename.replace("\0", "_")[:200], content, options)


def _check_unpacked(content: bytes) -> None:
    """A small packed file can be an endless one.

    Raises:
        TooLarge: unpacked, it is larger than is taken.
    """
    if not content.startswith(b"\x1f\x8b"):
        return
    size = 0
    with suppress(EOFError, OSError, zlib.error), gzip.open(io.BytesIO(content)) as file:
        while part := file.read(1 << 20):  # what is damaged is told when it is read
            size += len(part)
            if size > FILE_MAX_BYTES:
                raise TooLarge("The file is larger, unpacked, than the server takes")


def _table(path: Path, options: ImportOptions) -> Table:
    """Open a file as a table of transactions, read so.

    Raises:
        InvalidInput: it is not; the field is `file`.
    """
    try:
        table = open_statement(path, options)
        if is_copy(table.header):
            raise NotATable("it is a copy with suggestions: give the bank's own file")
    except InvalidInput as error:
        message = _check_name(str(error).replace(str(path), path.name))
        raise type(error)(message, [FieldError("file", message)], **error.facts) from None
    return table


def _check_name(told: str) -> str:
    """What the readers say to a person in a shell, said to one who calls."""
    for pattern, instead in _HERE:
        told = pattern.sub(instead, told)
    return told


def _wrong(field: str, message: str) -> InvalidInput:
    return InvalidInput(f"{field} {message}", [FieldError(field, message)])
