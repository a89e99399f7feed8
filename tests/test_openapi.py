"""The description of the API is true: requests made from it get the answers that it names."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.api import ADMIN, bearer, deploy_a_model
from tests.factories import add_transactions
from web.app import create_app


@pytest.fixture(scope="module")
def app_schema(engine, environment, tmp_path_factory):
    """The API with a model, jobs and transactions, so that requests meet something."""
    from dataclasses import replace

    from shared import services as composition
    from shared.settings import Settings
    from tests.api import TOKENS

    own = {**environment, "ML_REGISTRY_DIR": str(tmp_path_factory.mktemp("openapi"))}
    values = replace(Settings.from_env(own), api_auth=True, api_tokens=TOKENS)
    held = composition.build(values)
    add_transactions(engine, 100, labelled=100, seed=77)
    deploy_a_model(engine, held.registry)
    app = create_app(held)
    yield schemathesis.openapi.from_wsgi("/openapi.json", app)
    held.close()


schema = schemathesis.pytest.from_fixture("app_schema")


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_description_names(case):
    """No 500, no status, type or shape that is not written down, on good input and on bad."""
    case.call_and_validate(headers=bearer(ADMIN))
