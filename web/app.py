"""The Flask application, built around given services."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from flask import Flask, Response, g, request
from flask.json.provider import JSONProvider
from jinja2 import ChainableUndefined
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from shared.errors import InvalidInput, NotFound
from shared.monitoring import exposition, metrics
from shared.monitoring.database_collector import DatabaseCollector
from shared.services import Services
from web.http import auth, graceful_shutdown, health, openapi, parsing, problems, request_log
from web.models import canary as canary_views
from web.models import drift as drift_views
from web.models import jobs as job_views
from web.models import views as model_views
from web.pages import sign_in
from web.pages import views as page_views
from web.predictions import fast_path
from web.predictions import views as prediction_views
from web.suggestions import review as review_views
from web.suggestions import rules as rule_views
from web.suggestions import views as suggestion_views
from web.transactions import imports as import_views
from web.transactions import users as user_views
from web.transactions import views as transaction_views

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

TEMPLATES = str(Path(__file__).parent / "templates")
_VIEWS = (
    prediction_views, transaction_views, import_views, user_views,
    model_views, job_views, canary_views, drift_views,
    suggestion_views, review_views, rule_views,
    page_views, sign_in, health, openapi,
)  # fmt: skip
BODY_MAX_BYTES = 4 * 1024 * 1024
# Of every response that does not set them itself.
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


class Json(JSONProvider):
    """JSON by pydantic, in a fifth of the time of the standard library."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """*obj* as JSON text; of a model, the fields that were set."""
        try:
            if isinstance(obj, BaseModel):
                return obj.model_dump_json(exclude_unset=True)
            return to_json(obj).decode()
        except PydanticSerializationError:  # a lone surrogate, from a file that is not all UTF-8
            if isinstance(obj, BaseModel):
                obj = obj.model_dump(exclude_unset=True)
            return json.dumps(to_jsonable_python(obj))

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """The value of JSON text."""
        return json.loads(s)


def create_app(services: Services) -> Flask:
    """The application; the live model is loaded when `services.live_model` is started."""
    app = Flask("web", static_folder=None, template_folder=TEMPLATES)
    app.jinja_env.undefined = ChainableUndefined  # the report of an older version may lack figures
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX_BYTES
    app.json = Json(app)
    app.extensions["ledger"] = services
    settings = services.settings
    collector = DatabaseCollector(
        services.engine,
        services.registry,
        canary=settings.suggest_canary,
        retire_days=settings.retire_days,
    )
    app.extensions["ledger_metrics"] = exposition.render(collector)
    app.url_map.merge_slashes = False  # a client may repeat a redirected POST without its body
    app.wsgi_app = _add_headers(  # type: ignore  # as Flask documents it
        fast_path.fast_path(app.wsgi_app, services)
    )
    _follow_requests(app)
    app.before_request(_refuse_ambiguous)
    auth.guard(app, settings)
    app.before_request(_refuse_nul)
    problems.register(app)
    for bp in dict.fromkeys(module.bp for module in _VIEWS):  # several share context.ml_v2
        app.register_blueprint(bp)
    for rule in app.url_map.iter_rules():  # alerts need the series before the first fault
        metrics.HTTP_REQUESTS.labels(rule.rule, "5xx")
    return app


def _refuse_ambiguous() -> None:
    """Refuse what a proxy in front could understand differently: request smuggling.

    The connection is closed, since it is not sure where the next request begins.
    """
    environ = request.environ
    g.closing = True
    if environ.get("HTTP_TRANSFER_ENCODING", "chunked").lower() != "chunked":
        raise InvalidInput("Transfer-Encoding can be chunked, once, and nothing else")
    host = environ.get("HTTP_HOST", "none" if environ.get("SERVER_PROTOCOL") == "HTTP/1.0" else "")
    if not parsing.HOST.fullmatch(host):
        raise InvalidInput("A request names one host")
    g.closing = False


def _refuse_nul() -> None:
    """Answer 404 to an id with a NUL, which no text in PostgreSQL can hold."""
    if "\0" in request.path:
        raise NotFound("There is no such thing")


def _add_headers(inner: WSGIApplication) -> WSGIApplication:
    """Add the security headers to every response, errors included."""

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        def begin(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            names = {name.lower() for name, _ in headers}
            more = [item for item in _HEADERS.items() if item[0] not in names]
            if graceful_shutdown.shutting_down.is_set() and "connection" not in names:
                more.append(graceful_shutdown.HEADER)
            return start(status, headers + more, *error)

        return inner(environ, begin)

    return answer


def _follow_requests(app: Flask) -> None:
    """Give each request an id, and log it when it is answered."""

    @app.before_request
    def begin() -> None:
        g.request_id = request_log.request_id(request.environ)
        g.started = time.perf_counter()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "(none)"
        response.headers.add("X-Request-ID", g.request_id)
        if g.closing:
            response.headers["Connection"] = "close"
        request_log.record(route, request.method, response.status_code, g.started)
        return response

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        structlog.contextvars.unbind_contextvars("request_id")
