"""Every route with the scope that it is meant to need: a list of its own, not the product's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flask import Flask

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "MERGE")

# open: everybody; page: whoever is not signed in is sent to /sign-in; the others: a token's scope.
SCOPES = {
    "open": (
        "GET /docs",
        "GET /docs/<path:name>",
        "GET /healthz",
        "GET /metrics",
        "GET /openapi.json",
        "GET /readyz",
        "GET /sign-in",
        "GET /static/<path:name>",
        "POST /sign-in",
    ),
    "page": ("GET /", "GET /csv", "GET /review", "GET /try"),
    "predict": (
        "GET /charts/<name>.svg",
        "GET /figures",
        "GET /ml/v2/imports",
        "GET /ml/v2/imports/<import_id>/categorized.csv",
        "GET /ml/v2/imports/<import_id>/rejects.csv",
        "GET /ml/v2/review",
        "GET /ml/v2/canary",
        "GET /ml/v2/drift",
        "GET /ml/v2/jobs",
        "GET /ml/v2/jobs/<job_id>",
        "GET /ml/v2/model/status",
        "GET /ml/v2/models",
        "GET /ml/v2/models/<run_id>",
        "GET /ml/v2/rules",
        "GET /ml/v2/rules/proposals",
        "GET /ml/v2/rules/starter",
        "GET /ml/v2/suggestions/disagreements",
        "POST /ml/v2/imports/look",
        "POST /ml/v2/predict",
        "POST /ml/v2/predict/batch",
        "POST /ml/v2/predict/explain",
        "POST /ml/v2/review",
        "POST /ml/v2/review/merchant",
        "POST /ml/v2/rules/preview",
        "POST /ml/v2/suggest",
        "POST /ml/v2/suggest/explain",
        "POST /ml/v2/suggestions/<suggestion_id>/feedback",
    ),
    "admin": (
        "DELETE /ml/v2/jobs/<job_id>",
        "DELETE /ml/v2/users",
        "POST /ml/v2/features",
        "POST /ml/v2/imports",
        "POST /ml/v2/labels",
        "POST /ml/v2/model/rollback",
        "POST /ml/v2/models/<run_id>/deploy",
        "POST /ml/v2/rules/apply",
        "POST /ml/v2/suggest/history",
        "POST /ml/v2/train",
        "POST /ml/v2/transactions",
        "POST /ml/v2/trial",
        "POST /ml/v2/trial/drop",
        "POST /ml/v2/trial/promote",
        "POST /sign-out",
        "PUT /ml/v2/canary",
        "PUT /ml/v2/rules",
    ),
}
DECLARED = {door: scope for scope, doors in SCOPES.items() for door in doors}


class Door(NamedTuple):
    """One method of one route; `scope` is None where the route does not know the method."""

    method: str
    route: str
    path: str
    scope: str | None


def view_routes(app: Flask) -> set[str]:
    """Each route with each method that it answers by a view."""
    return {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def doors(app: Flask) -> Iterator[Door]:
    """Every method there is, and some that there are not, at every route."""
    for route in sorted({rule.rule for rule in app.url_map.iter_rules()}):
        path = route.replace("/static/<path:name>", "/static/page.js")
        path = path.replace("<path:name>", "start.js")
        for name in ("<job_id>", "<run_id>", "<suggestion_id>", "<import_id>", "<name>"):
            path = path.replace(name, "x")
        known = {door.split()[0] for door in DECLARED if door.split(" ", 1)[1] == route}
        for method in METHODS:
            # HEAD is a GET without the body; OPTIONS tells the methods, and no more than those.
            alike = {"HEAD": "GET", "OPTIONS": min(known, default="")}.get(method, method)
            yield Door(method, route, path, DECLARED.get(f"{alike} {route}"))
