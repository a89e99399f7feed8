"""The OpenAPI document, generated from the models of requests and answers, and Swagger UI."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
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
# Swagger UI sets styles from its script.
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
    """The models and statuses of a view, as a decorator that attaches them to the view."""

    answer: type | str  # a model or a dataclass; or the media type of a file
    status: int = 200  # of that answer
    body: Any = None  # the model, or the union of models, of the JSON body
    body_may_be_empty: bool = False
    upload: type[BaseModel] | None = None  # of `options`, in a form that also has a `file`
    query: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()  # besides those that follow from the other fields
    idempotent_by_key: bool = False  # the request may carry an Idempotency-Key

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


documented = Operation
documented_job = partial(
    Operation,
    body_may_be_empty=True,
    answer=schemas.AcceptedJob,
    status=202,
    idempotent_by_key=True,
)


def operation_of(app: Flask, endpoint: str) -> Operation | None:
    """The operation of a route; None if the route is not documented."""
    operation: Operation | None = getattr(app.view_functions[endpoint], "operation", None)
    return operation


@bp.get("/openapi.json")
def spec() -> ResponseReturnValue:
    """This description of the API."""
    return jsonify(_describe(current_app._get_current_object()))  # type: ignore[attr-defined]


@bp.get("/docs")
def page() -> ResponseReturnValue:
    """Swagger UI; nothing is loaded from other sites."""
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})


@bp.get("/docs/<path:name>")
def file(name: str) -> ResponseReturnValue:
    """A file of Swagger UI."""
    if name == "start.js":
        return Response(_START, mimetype="text/javascript")
    return send_from_directory(_swagger_files(), name.removeprefix("files/"))


@cache
def _swagger_files() -> Path:
    """The files of the Swagger UI package, which is not imported."""
    package = importlib.util.find_spec("flask_openapi3_swagger")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("flask_openapi3_swagger")
    return Path(package.origin).parent / _FILES


@cache
def _describe(app: Flask) -> dict[str, Any]:
    """The OpenAPI document; cached, since the routes of an application are fixed."""
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    requests: set[type] = {model for _, item in ITEMS.values() for model in _models(item)}
    answers: set[type] = {schemas.Problem}
    for rule in app.url_map.iter_rules():
        operation = operation_of(app, rule.endpoint)
        if operation is None:
            continue
        requests.update(_models(operation.body), _models(operation.upload))
        answers.update(_models(operation.answer))
        docstring = app.view_functions[rule.endpoint].__doc__ or ""
        summary, _, description = docstring.strip().partition("\n")
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            scopes = [scope_needed(rule.endpoint, method)]
            security = [] if rule.endpoint in OPEN_ENDPOINTS else [{"token": scopes}]
            paths[path][method.lower()] = {
                "operationId": rule.endpoint.replace(".", "_"),
                "summary": summary,
                "description": " ".join(description.split()),
                "security": security,
                "parameters": _parameters(operation, rule.arguments),
                **_request_body(operation),
                "responses": {
                    str(status): {"description": HTTPStatus(status).phrase, "content": _content(it)}
                    for status, it in operation.answers(rule.endpoint, method).items()
                },
            }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ledger Suggestions", "version": "2", "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": _components(requests, answers),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _components(requests: set[type], answers: set[type]) -> dict[str, Any]:
    """The JSON schema of each model, and of those inside it, by name.

    Requests allow no other fields. Answers do, so that a new field breaks no generated client;
    where an answer has a model of a request, its own one is called `<name>Answer`.
    """
    components = _definitions(requests)
    for body, (name, item) in ITEMS.items():
        # The body is accepted whatever its items are: a bad one gets an error of its own.
        components[body.__name__]["properties"][name]["items"] = {"anyOf": [_schema(item), {}]}
    opened = _definitions(answers)
    for schema in opened.values():
        if schema.get("additionalProperties") is False:
            del schema["additionalProperties"]
    shared = {name for name in opened if opened[name] != components.get(name, opened[name])}
    text = json.dumps(
        {f"{name}Answer" if name in shared else name: opened[name] for name in opened}
    )
    for name in shared:
        text = text.replace(f'/{name}"', f'/{name}Answer"')
    components.update(json.loads(text))
    return components


def _definitions(models: set[type]) -> dict[str, Any]:
    by_name = sorted(models, key=lambda model: model.__name__)
    _, definitions = TypeAdapter.json_schemas(
        [(model.__name__, "validation", TypeAdapter(model)) for model in by_name],
        ref_template=_REFERENCE,
    )
    by_ref: dict[str, Any] = definitions["$defs"]
    return by_ref


def _parameters(operation: Operation, arguments: Iterable[str]) -> list[dict[str, Any]]:
    """The parameters of the query, the header and the path."""
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
    """The models of a body: one, those of a union, or none for a media type."""
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
