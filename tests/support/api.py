"""The API in this process, on the real database and broker of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from pydantic import TypeAdapter
from sqlalchemy import Engine
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from shared.registry.store import Registry
from shared.services import Services
from shared.settings import Token
from tests.support.factories import add_transactions
from web import app as web_app
from web.http import openapi, problems, schemas
from worker.features import build as feature_build
from worker.features import pending
from worker.training import dataset, fit

ADMIN = "admin-secret-0123456789"
PREDICT = "predict-secret-0123456789"
YAML = "application/yaml"  # what routes of rules answer instead, to who asks for it
TOKENS = (Token(scope="admin", secret=ADMIN), Token(scope="predict", secret=PREDICT))


class CheckedClient(FlaskClient):
    """A test client that compares every answer with what OpenAPI says of its route."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        check_answer(self.application, response)
        return response


def create_app(services: Services) -> Flask:
    """The application of *services*; its test clients check every answer."""
    app = web_app.create_app(services)
    app.test_client_class = CheckedClient
    return app


def check_answer(app: Flask, response: TestResponse) -> None:
    """See that the answer of a described route has the status, type and shape described.

    Every error is a problem document, of the described statuses or not: any route may, for
    example, answer 400 to a request that names no host.
    """
    request = response.request
    try:
        endpoint, _ = app.url_map.bind("localhost").match(request.path, request.method)
    except HTTPException:
        return
    operation = openapi.operation_of(app, endpoint)
    if operation is None or request.method in ("HEAD", "OPTIONS"):
        return
    if response.status_code >= 400:
        assert response.mimetype == problems.MEDIA_TYPE
        model: Any = schemas.Problem
    else:
        assert response.status_code == operation.status
        model = operation.answer
    if isinstance(model, str):
        assert response.mimetype == model
    elif response.mimetype != YAML:
        # A file that is not UTF-8 is shown with half characters, which pydantic does not read.
        text = json.dumps(response.json, ensure_ascii=False).encode(errors="replace")
        TypeAdapter(model).validate_json(text, strict=True)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def deploy_a_model(
    engine: Engine,
    registry: Registry,
    *,
    rename: str = "",
    classes: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Train on made-up shops, deploy, and give the run_id.

    Args:
        rename: goes before each label.
        classes: the figures of each class in the evaluation report.
    """
    if pending.count(engine, feature_build.Scope(labelled=True)) == 0:
        add_transactions(engine, 300, labelled=300)
    feature_build.build_pending(engine, feature_build.Scope())
    data = dataset.load(engine, limit=None)
    model = fit.fit(data["row"].tolist(), [*(rename + data["label"])], seed=0)
    meta = {
        "val_f1_macro": 0.9,
        "val_accuracy": 0.9,
        "gate": {"passed": True, "reason": "made up"},
        "report": {"accuracy": 0.9, **({"classes": [*classes]} if classes else {})},
        "trained_through": max(data["labelled_at"]).isoformat(),
    }
    version = registry.save(model.to_files(), meta)
    registry.deploy(version.run_id, by="test", why="a test")
    return version.run_id
