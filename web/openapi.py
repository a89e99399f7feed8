"""The description of the API, made of the same types that check it, and a page to read it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar, get_args

from flask import Blueprint, Flask, Response, current_app, jsonify, send_from_directory
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from web import problems, schemas
from web.auth import OPEN_ENDPOINTS, scope_needed

bp = Blueprint("docs", __name__)
View = TypeVar("View", bound=Callable[..., ResponseReturnValue])
ITEMS: dict[type[BaseModel], tuple[str, Any]] = {
    schemas.PredictBatchRequest: ("rows", schemas.PredictRequest),
    schemas.TransactionsRequest: ("transactions", schemas.TransactionItem),
    schemas.LabelsRequest: ("labels", schemas.LabelItem),
}
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
    """What a view takes and gives; errors that every guarded route can give are added to it."""

    answer: type[BaseModel] | str  # or the media type of a file
    status: int = 200
    body: Any = None
    upload: type[BaseModel] | None = None  # a file comes with it, in a form
    body_may_be_empty: bool = False
    query: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    idempotent_by_key: bool = False
    also: Mapping[int, type[BaseModel]] | None = None


_operations: dict[Callable[..., Any], Operation] = {}


def documented(**facts: Any) -> Callable[[View], View]:
    """Describe a view for OpenAPI; see `Operation`."""

    def note(view: View) -> View:
        _operations[view] = Operation(**facts)
        return view

    return note


@bp.get("/openapi.json")
def spec() -> ResponseReturnValue:
    """This description of the API."""
    return jsonify(_described(current_app._get_current_object()))  # type: ignore[attr-defined]


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
def _described(app: Flask) -> dict[str, Any]:
    bodies = [item for _, item in ITEMS.values()]
    for operation in _operations.values():
        if operation.body is not None and operation.body not in ITEMS:
            bodies.append(operation.body)
        if operation.upload is not None:
            bodies.append(operation.upload)
    answers = {
        model
        for operation in _operations.values()
        for model in (operation.answer, *(operation.also or {}).values())
        if not isinstance(model, str)
    }
    plain = [model for model in ITEMS if model not in bodies]
    models: list[type[BaseModel]] = [
        *plain,
        *answers,
        schemas.Problem,
    ]
    models += [model for body in bodies for model in _models(body)]
    unique = sorted(set(models), key=lambda model: model.__name__)
    _, definitions = models_json_schema(
        [(model, "validation") for model in unique],
        ref_template="#/components/schemas/{model}",
    )
    components = definitions["$defs"]
    for model, (name, item) in ITEMS.items():
        # The body is taken whatever its items are: a bad one gets an error of its own.
        components[model.__name__]["properties"][name]["items"] = {"anyOf": [_schema(item), {}]}
    paths: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if view not in _operations:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(rule.endpoint, method, view)
            arguments = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in sorted(rule.arguments)
            ]
            paths[path][method.lower()]["parameters"] += arguments
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ledger Suggestions", "version": "2", "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: str, method: str, view: Callable[..., Any]) -> dict[str, Any]:
    operation = _operations[view]
    summary, _, description = (view.__doc__ or "").strip().partition("\n")
    errors = set(operation.errors)
    described: dict[str, Any] = {
        "operationId": endpoint.replace(".", "_"),
        "summary": summary,
        "description": " ".join(description.split()),
        "parameters": [],
        "security": [],
    }
    if endpoint not in OPEN_ENDPOINTS:
        scope = scope_needed(endpoint, method)
        described["security"] = [{"token": [scope]}]
        errors |= {401} | ({403} if scope == "admin" else set())
    if operation.body is not None:
        errors |= {400, 413, 415}
        described["requestBody"] = {
            "required": not operation.body_may_be_empty,
            "content": {"application/json": {"schema": _schema(operation.body)}},
        }
    if operation.upload is not None:
        errors |= {400, 413, 415}
        form = {
            "file": {"type": "string", "format": "binary"},
            "options": _schema(operation.upload),
        }
        described["requestBody"] = {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": form, "required": ["file"]},
                    "encoding": {"options": {"contentType": "application/json"}},
                }
            },
        }
    if operation.query is not None:
        errors.add(400)
        described["parameters"] += _query(operation.query)
    if operation.idempotent_by_key:
        errors |= {400, 409}
        described["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key with the same request gives the same job.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
            }
        )
    answers = {operation.status: operation.answer, **(operation.also or {})}
    described["responses"] = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": _content(model),
        }
        for status, model in answers.items()
    } | {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {problems.MEDIA_TYPE: {"schema": _reference(schemas.Problem)}},
        }
        for status in sorted(errors)
    }
    return described


def _content(answer: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _reference(answer)}}


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
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


def _models(body: Any) -> list[type[BaseModel]]:
    """The model that a body is, or those that it may be one of."""
    if isinstance(body, type):
        return [body]
    return [model for part in get_args(body) for model in _models(part)]


def _schema(body: Any) -> dict[str, Any]:
    if isinstance(body, type):
        return _reference(body)
    schema = TypeAdapter(body).json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # they are among the components
    return schema


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
