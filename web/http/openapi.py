"""The description of the API, made of the same types that check it, and a page to read it."""

from __future__ import annotations

import importlib.util
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar, get_args

from flask import Blueprint, Flask, Response, current_app, jsonify, send_from_directory
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, TypeAdapter

from web.http import problems, schemas
from web.http.auth import OPEN_ENDPOINTS, scope_needed

bp = Blueprint("docs", __name__)
View = TypeVar("View", bound=Callable[..., ResponseReturnValue])
ITEMS: dict[type[BaseModel], tuple[str, Any]] = {
    schemas.PredictBatchRequest: ("rows", schemas.PredictRequest),
    schemas.TransactionsRequest: ("transactions", schemas.TransactionItem),
    schemas.LabelsRequest: ("labels", schemas.LabelItem),
}
_REFERENCE = "#/components/schemas/{model}"
_FILES = "templates/swagger"
# The page runs Swagger UI's own script and nothing from elsewhere; it sets styles by itself.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Ledger Suggestions API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="docs/files/css/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="docs/files/js/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script></body></html>
"""
_START = """SwaggerUIBundle({url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, tryItOutEnabled: true});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a view takes and answers, as a decorator that attaches it to the view.

    Attributes:
        answer: the class of the answer, a model or a dataclass; or the media type of a file.
        status: the status of that answer.
        body: the model, or the union of models, of the JSON body.
        upload: the model of the `options` field of a form that also has a `file`.
        query: the model of the query parameters.
        errors: statuses of errors, beside those that follow from the other attributes.
        idempotent_by_key: the request may carry an Idempotency-Key.
    """

    answer: type | str
    status: int = 200
    body: Any = None
    body_may_be_empty: bool = False
    upload: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    idempotent_by_key: bool = False

    def __call__(self, view: View) -> View:
        view.operation = self  # type: ignore[attr-defined]  # read by `operation_of`
        return view

    def answers(self, endpoint: str, method: str) -> dict[int, type | str]:
        """Each status that the route can answer, with the model of that answer."""
        errors = set(self.errors)
        if endpoint not in OPEN_ENDPOINTS:
            errors |= {401, 403} if scope_needed(endpoint, method) == "admin" else {401}
        if self.body is not None or self.upload is not None:
            errors |= {400, 413, 415}
        if self.query is not None:
            errors.add(400)
        if self.idempotent_by_key:
            errors |= {400, 409}
        return {self.status: self.answer} | dict.fromkeys(sorted(errors), schemas.Problem)

    def models(self) -> list[type]:
        """The models of the request and of the answer."""
        return [*_models(self.answer), *_models(self.body), *_models(self.upload)]


documented = Operation


def operation_of(app: Flask, endpoint: str) -> Operation | None:
    """The description of a route; None for one that is no part of the described API."""
    found: Operation | None = getattr(app.view_functions[endpoint], "operation", None)
    return found


@bp.get("/openapi.json")
def spec() -> ResponseReturnValue:
    """This description of the API."""
    return jsonify(_describe(current_app._get_current_object()))  # type: ignore[attr-defined]


@bp.get("/docs")
def page() -> ResponseReturnValue:
    """The description as a page to read and to try; nothing is loaded from elsewhere."""
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})


@bp.get("/docs/<path:name>")
def file(name: str) -> ResponseReturnValue:
    """A file of the page."""
    if name == "start.js":
        return Response(_START, mimetype="text/javascript")
    return send_from_directory(_swagger_files(), name.removeprefix("files/"))


@cache
def _swagger_files() -> Path:
    """Swagger UI as its package has it; found without importing the package."""
    found = importlib.util.find_spec("flask_openapi3_swagger")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("flask_openapi3_swagger")
    return Path(found.origin).parent / _FILES


@cache
def _describe(app: Flask) -> dict[str, Any]:
    """The whole OpenAPI document; made once, since the routes of an application are fixed."""
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    models: set[type] = {schemas.Problem}
    for rule in app.url_map.iter_rules():
        operation = operation_of(app, rule.endpoint)
        if operation is None:
            continue
        models.update(operation.models())
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths[path][method.lower()] = {
                **_summary(rule.endpoint, app.view_functions[rule.endpoint].__doc__ or ""),
                "security": _security(rule.endpoint, method),
                "parameters": _parameters(operation, rule.arguments),
                **_request_body(operation),
                "responses": _responses(operation.answers(rule.endpoint, method)),
            }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ledger Suggestions", "version": "2", "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": _components(models),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _components(models: set[type]) -> dict[str, Any]:
    """The JSON schema of each model, and of those inside it, by name."""
    for _, item in ITEMS.values():
        models.update(_models(item))
    by_name = sorted(models, key=lambda model: model.__name__)
    _, definitions = TypeAdapter.json_schemas(
        [(model.__name__, "validation", TypeAdapter(model)) for model in by_name],
        ref_template=_REFERENCE,
    )
    components: dict[str, Any] = definitions["$defs"]
    for body, (name, item) in ITEMS.items():
        # The body is taken whatever its items are: a bad one gets an error of its own.
        components[body.__name__]["properties"][name]["items"] = {"anyOf": [_schema(item), {}]}
    return components


def _summary(endpoint: str, docstring: str) -> dict[str, str]:
    summary, _, description = docstring.strip().partition("\n")
    return {
        "operationId": endpoint.replace(".", "_"),
        "summary": summary,
        "description": " ".join(description.split()),
    }


def _security(endpoint: str, method: str) -> list[dict[str, list[str]]]:
    return [] if endpoint in OPEN_ENDPOINTS else [{"token": [scope_needed(endpoint, method)]}]


def _parameters(operation: Operation, arguments: Iterable[str]) -> list[dict[str, Any]]:
    """Those of the query, the header and the path."""
    parameters = _query(operation.query) if operation.query else []
    if operation.idempotent_by_key:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key with the same request gives the same job.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
            }
        )
    return parameters + [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in sorted(arguments)
    ]


def _request_body(operation: Operation) -> dict[str, Any]:
    if operation.body is not None:
        content: dict[str, Any] = {"application/json": {"schema": _schema(operation.body)}}
    elif operation.upload is not None:
        form = {
            "file": {"type": "string", "format": "binary"},
            "options": _schema(operation.upload),
        }
        content = {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": form, "required": ["file"]},
                "encoding": {"options": {"contentType": "application/json"}},
            }
        }
    else:
        return {}
    return {"requestBody": {"required": not operation.body_may_be_empty, "content": content}}


def _responses(answers: Mapping[int, type | str]) -> dict[str, Any]:
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": _content(answer)}
        for status, answer in answers.items()
    }


def _content(answer: type | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "string"}}}
    media_type = problems.MEDIA_TYPE if answer is schemas.Problem else "application/json"
    return {media_type: {"schema": _schema(answer)}}


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    inline = schema.get("$defs", {})
    parameters = []
    for name, described in schema["properties"].items():
        options = described.get("anyOf", [described])
        chosen = next(option for option in options if option.get("type") != "null")
        if "$ref" in chosen:
            chosen = inline[chosen["$ref"].rsplit("/", 1)[1]]
        needed = name in schema.get("required", ())
        parameters.append({"name": name, "in": "query", "required": needed, "schema": chosen})
    return parameters


def _models(body: Any) -> list[type]:
    """The model that a body is, or those that it may be one of; none for a media type."""
    if isinstance(body, type):
        return [body]
    return [model for part in get_args(body) for model in _models(part)]


def _schema(body: Any) -> dict[str, Any]:
    """A reference to a model among the components, or to each model of a union."""
    if isinstance(body, type):
        return {"$ref": _REFERENCE.format(model=body.__name__)}
    schema = TypeAdapter(body).json_schema(ref_template=_REFERENCE)
    schema.pop("$defs", None)  # they are among the components
    return schema
