"""The description of the API is true: requests made from it get the answers that it names."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from pydantic import TypeAdapter, ValidationError
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from shared.services import build as build_services
from shared.settings import Settings
from tests.support.api import ADMIN, TOKENS, bearer, check_answer, create_app, deploy_a_model
from tests.support.factories import add_transactions
from web.http import openapi
from web.http.schemas import Problem

# Whether a pattern is one of RE2, and a file a table, no JSON Schema can say.
BEYOND_SCHEMAS = (
    "/ml/v2/rules", "/ml/v2/rules/preview", "/ml/v2/imports", "/ml/v2/imports/look",
)  # fmt: skip


@pytest.fixture(scope="module")
def app(engine, environment, tmp_path_factory):
    """The API with a model, labels and transactions, so that requests meet something."""
    own = {**environment, "ML_REGISTRY_DIR": str(tmp_path_factory.mktemp("openapi"))}
    values = replace(Settings.from_env(own), api_auth=True, api_tokens=TOKENS)
    services = build_services(values)
    add_transactions(engine, 100, labelled=100, seed=77)
    deploy_a_model(engine, services.registry)
    yield create_app(services)
    services.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good input", "bad input"]
)
def test_every_response_status_is_documented(app, mode):
    """No 500, and no status, type or shape that is not written down."""
    # 413 is what the API says to a list that is too long; to the tool it is no refusal by itself.
    refusals = ["400", "401", "403", "404", "405", "406", "409", "413", "415"]
    checks = {"negative_data_rejection": {"expected-statuses": refusals}}
    patterns = {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "409"]}}
    rules = [{"include-path": path, "checks": patterns} for path in BEYOND_SCHEMAS]
    config = SchemathesisConfig.from_dict(
        {
            "checks": checks,
            "operations": rules,
            # Every request brings a token, so one without it would be none of the bad ones.
            "generation": {"with-security-parameters": False},
        }
    )
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app, config=config)
    operations = [found.ok() for found in schema.get_all_operations()]
    checked = 0
    for operation in operations:

        @seed(20261123)
        @settings(
            max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case):
            nonlocal checked
            checked += 1
            case.call_and_validate(headers=bearer(ADMIN))

        try:
            holds()
        except Unsatisfiable:
            # What takes neither parameters nor a body has no bad input.
            assert mode is GenerationMode.NEGATIVE

    assert len(operations) >= 15
    assert checked >= 100


def test_api_page_needs_no_internet(client):
    """Every file that it names comes from here."""
    page = client.get("/docs")

    assert page.status_code == 200
    assert "http" not in page.get_data(as_text=True)
    for name in ("files/css/swagger-ui.css", "files/js/swagger-ui-bundle.js", "start.js"):
        assert f"docs/{name}" in page.get_data(as_text=True)
        assert client.get(f"/docs/{name}").status_code == 200
    assert client.get("/docs/files/../../__init__.py").status_code == 404


def test_schemas_allow_further_fields_in_responses_and_not_in_requests(client):
    """A new field of an answer breaks no generated client; a misspelt one in a request is told."""
    document = client.get("/openapi.json").json
    operations = [it for methods in document["paths"].values() for it in methods.values()]

    answers = _reached(document, [operation["responses"] for operation in operations])
    requests = _reached(document, [operation.get("requestBody") for operation in operations])

    assert len(answers) > 40
    assert [name for name, it in answers.items() if it.get("additionalProperties") is False] == []
    assert len(requests) > 20
    assert {name for name, it in requests.items() if it.get("additionalProperties", True)} == set()


def test_undocumented_field_in_a_response_fails_the_tests(client):
    """The checked client compares with models that allow no other fields, at any depth."""
    app = client.application
    operations = [openapi.operation_of(app, endpoint) for endpoint in app.view_functions]
    answers = [it.answer for it in operations if it and not isinstance(it.answer, str)]

    open_models = set()
    for answer in [*answers, Problem]:
        schema = TypeAdapter(answer).json_schema()
        for name, model in {**schema.get("$defs", {}), answer.__name__: schema}.items():
            if "properties" in model and model.get("additionalProperties", True):
                open_models.add(name)

    response = client.get("/healthz")
    response.set_data(b'{"status": "ok", "more": 1}')
    with pytest.raises(ValidationError, match="more"):
        check_answer(app, response)
    assert open_models == set()


def _reached(document, part):
    """The schemas of objects that a part of the document refers to, by name."""
    schemas = document["components"]["schemas"]
    seen, waiting = set(), _names(part)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= _names(schemas[name]) - seen
    return {name: schemas[name] for name in seen if "properties" in schemas[name]}


def _names(part):
    return set(re.findall(r"#/components/schemas/(\w+)", json.dumps(part)))
