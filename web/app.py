"""The Flask application: made of services that are handed in, so that tests hand in their own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from flask import Flask, Response, g, request
from flask.json.provider import JSONProvider
from jinja2 import ChainableUndefined
from pydantic_core import PydanticSerializationError, to_json

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
# Of every answer that does not say otherwise.
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
    """JSON by pydantic's writer, which takes a fifth of the time of the standard library's."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """*obj* as JSON text."""
        try:
            return to_json(obj).decode()
        except PydanticSerializationError:  # half a character, from a file that is not all UTF-8
            return json.dumps(obj, default=asdict)

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """What JSON text says."""
        return json.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """An answer that says *args*, or *kwargs*."""
        body = self.dumps(self._prepare_response_obj(args, kwargs))
        return Response(body, mimetype="application/json")


def create_app(services: Services) -> Flask:
    """The API around these services; the model is loaded when the runtime is started."""
    app = Flask("web", static_folder=None, template_folder=TEMPLATES)
    app.jinja_env.undefined = ChainableUndefined  # an older version's report may lack a figure
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX_BYTES
    app.json = Json(app)
    app.extensions["ledger"] = services
    own = services.settings
    facts = DatabaseCollector(
        services.engine, services.registry, canary=own.suggest_canary, retire_days=own.retire_days
    )
    app.extensions["ledger_metrics"] = exposition.render(facts)
    app.url_map.merge_slashes = False  # a client may repeat a redirected POST without its body
    around = _strict(fast_path.fast_path(app.wsgi_app, services))
    app.wsgi_app = around  # type: ignore  # as Flask documents it
    _follow_requests(app)
    app.before_request(_refuse_ambiguous)
    auth.guard(app, services.settings)
    app.before_request(_refuse_nul)
    problems.register(app)
    for bp in dict.fromkeys(module.bp for module in _VIEWS):  # several share context.ml_v2
        app.register_blueprint(bp)
    for rule in app.url_map.iter_rules():  # alerts need the series before the first fault
        metrics.HTTP_REQUESTS.labels(rule.rule, "5xx")
    return app


def _refuse_ambiguous() -> None:
    """What a proxy in front might have understood otherwise.

    The connection ends with the answer: who can tell where the next request begins?
    """
    told = request.environ
    g.closing = True
    if told.get("HTTP_TRANSFER_ENCODING", "chunked").lower() != "chunked":
        raise InvalidInput("Transfer-Encoding can be chunked, once, and nothing else")
    host = told.get("HTTP_HOST", "none" if told.get("SERVER_PROTOCOL") == "HTTP/1.0" else "")
    if not parsing.HOST.fullmatch(host):
        raise InvalidInput("A request names one host")
    g.closing = False


def _refuse_nul() -> None:
    """No text of PostgreSQL has a NUL in it, so nothing has such an id."""
    if "\0" in request.path:
        raise NotFound("There is no such thing")


def _strict(inner: WSGIApplication) -> WSGIApplication:
    """Have the strict headers in every answer, those of errors too."""

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        def begin(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            told = {name.lower() for name, _ in headers}
            more = [item for item in _HEADERS.items() if item[0] not in told]
            if graceful_shutdown.GracefulShutdown.shutting_down and "connection" not in told:
                more.append(graceful_shutdown.HEADER)
            return start(status, headers + more, *error)

        return inner(environ, begin)

    return answer


def _follow_requests(app: Flask) -> None:
    """Give each request an id, and a line in the log when it is answered."""

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
