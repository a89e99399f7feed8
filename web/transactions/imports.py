"""/ml/v2/imports: preview and import of statements, and their annotated copies."""

from __future__ import annotations

import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from shared.db.engine import transaction
from shared.errors import Conflict, FieldError, InvalidInput, NotATable
from shared.jobs import requests as job_requests
from shared.services import Services
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
from web.http.context import get_services
from web.http.job_responses import accepted_response, idempotency_key
from web.http.openapi import documented
from web.http.problems import TooLarge, WrongContentType
from web.http.schemas import Answer, Body, Identity, Text, Timestamp

bp = Blueprint("imports", __name__, url_prefix="/ml/v2/imports")

FILE_MAX_BYTES = 32 * 1024 * 1024
IMPORTS_SHOWN = 20  # the newest
# From the messages of the command line, which name its options, to those of the API.
_MESSAGES = (
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
    """How to read the file; what is left out is inferred from it."""

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
    """Follow `status_url`; the file is stored as `import_id`."""

    import_id: str


class KeptImport(Answer):
    import_id: str
    name: str
    user_id: str | None
    created_at: Timestamp
    imported: bool = Field(description="its rows are stored; before, there is nothing to download")


class KeptImports(Answer):
    imports: list[KeptImport]


# The names of the endpoints are in the published operation ids.
@bp.post("/look", endpoint="look")
@documented(upload=ImportRequest, answer=preview.StatementPreview)
def preview_import() -> ResponseReturnValue:
    """Preview how a file would be read; nothing is stored."""
    upload = _read_upload()
    with _open_table(upload) as table:
        shown = preview.preview(table)
    detected = [_as_api_message(fact) for fact in shown.detected]
    return jsonify(replace(shown, name=upload.name, detected=detected))


@bp.post("", endpoint="bring")
@documented(
    upload=ImportRequest, answer=AskedImport, status=202, errors=(503,), idempotent_by_key=True
)
def upload_import() -> ResponseReturnValue:
    """Queue a job that stores a file's transactions and suggests for them.

    The file is stored for 30 days.
    """
    upload, key = _read_upload(), idempotency_key()
    with _open_table(upload):
        pass  # it can be read
    services = get_services()
    job = job_requests.request_import(
        services.engine, services.publisher, requested_by=caller(), file=upload, idempotency_key=key
    )
    return accepted_response(job, import_id=job.params["import_id"])


@bp.get("", endpoint="listed")
@documented(answer=KeptImports, errors=(503,))
def list_imports() -> ResponseReturnValue:
    """The stored files, the newest first."""
    with transaction(get_services().engine) as session:
        newest = uploads.newest(session, IMPORTS_SHOWN)
    imports = [KeptImport(**it._asdict() | {"user_id": it.user_id or None}) for it in newest]
    return jsonify(KeptImports(imports=imports))


@bp.get("/<import_id>/categorized.csv")
@documented(answer="text/csv", errors=(404, 409, 503))
def categorized_file(import_id: str) -> ResponseReturnValue:
    """The file with category, confidence, source and reason of each row, as they are now."""
    with transaction(get_services().engine) as session:
        upload = uploads.get(session, import_id)
    if not upload.imported:
        raise Conflict("The file is not imported yet, or its import failed: see its job")
    content = _annotated_copy(get_services(), import_id)
    return _csv_response(content, upload.name, "categorized")


@bp.get("/<import_id>/rejects.csv")
@documented(answer="text/csv", errors=(404, 503))
def rejects_file(import_id: str) -> ResponseReturnValue:
    """The rejects: rows that could not be read, each with its line and the reason."""
    with transaction(get_services().engine) as session:
        name = uploads.get(session, import_id).name
        content = uploads.load_rejects(session, import_id)
    return _csv_response(iter([content]), name, "rejects")


def _annotated_copy(services: Services, import_id: str) -> Iterator[bytes]:
    """The annotated copy, a page at a time, so that no database transaction is open for long."""
    with uploads.open_upload(services.engine, import_id) as upload:
        table = open_statement(upload.path, upload.options)
        text = io.StringIO(newline="")
        copy = Rows(text, table, mark=needs_bom(table))
        serving_context = partial(
            suggestion_service.serving_context,
            services.live_model,
            services.challenger,
            services.settings,
        )
        rows = statement_rows.annotate_rows(
            table,
            upload.row_ids,
            lambda ids: statement_rows.annotate(services.engine, serving_context, ids)[0],
        )
        while True:
            page = list(islice(rows, statement_rows.PAGE))
            for row in page:
                copy.add(row.cells, row.ours)
            yield text.getvalue().encode("utf-8", "surrogateescape")
            text.seek(0)
            text.truncate()
            if not page:
                return


def _csv_response(content: Iterator[bytes], name: str, kind: str) -> Response:
    stem = re.sub(r"(\.csv)?(\.gz)?$", "", uploads.safe_name(name), flags=re.IGNORECASE)
    answer = Response(content, mimetype="text/csv")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{stem}.{kind}.csv")
    return answer


def _read_upload() -> Upload:
    """The file of the request, and how to read it."""
    request.max_content_length = FILE_MAX_BYTES
    if request.mimetype != "multipart/form-data":
        raise WrongContentType("Send a form with a file: multipart/form-data")
    if request.content_length is None:
        raise InvalidInput.of_field("(body)", "needs a Content-Length")
    file = request.files.get("file")
    if file is None or not file.filename:
        raise InvalidInput.of_field("file", "is needed: a CSV file")
    try:
        args = ImportRequest.model_validate_json(request.form.get("options") or "{}")
    except ValidationError as error:
        raise parsing.invalid(error) from None
    given = args.model_dump(exclude={"user_id"}, exclude_none=True)
    options = ImportOptions(user=args.user_id, **given)
    content = file.read()
    _check_unpacked(content)
    return Upload(file.filename.replace("\0", "_")[:200], content, options)


def _check_unpacked(content: bytes) -> None:
    """Raise TooLarge for a zip bomb: a small file that is too large when unpacked."""
    if not content.startswith(b"\x1f\x8b"):
        return
    size = 0
    with suppress(EOFError, OSError, zlib.error), gzip.open(io.BytesIO(content)) as file:
        while part := file.read(1 << 20):  # a damaged file is reported when it is read
            size += len(part)
            if size > FILE_MAX_BYTES:
                raise TooLarge("The file is larger, unpacked, than the server takes")


@contextmanager
def _open_table(upload: Upload) -> Iterator[Table]:
    """Open an upload in a temporary file; InvalidInput if it is no table of transactions."""
    with tempfile.TemporaryDirectory(prefix="look-") as folder:
        path = Path(folder) / uploads.safe_name(upload.name)
        path.write_bytes(upload.content)
        try:
            table = open_statement(path, upload.options)
            if is_copy(table.header):
                raise NotATable("it is a copy with suggestions: give the bank's own file")
        except InvalidInput as error:
            message = _as_api_message(str(error).replace(str(path), path.name))
            raise type(error)(message, [FieldError("file", message)], **error.facts) from None
        yield table


def _as_api_message(text: str) -> str:
    """A message of the statement reader in the terms of the API, not of the command line."""
    for pattern, replacement in _MESSAGES:
        text = pattern.sub(replacement, text)
    return text
