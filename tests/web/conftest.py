"""Fixtures of the tests of the API."""

from __future__ import annotations

import pytest

from tests.support.api import deploy_a_model


@pytest.fixture
def live(services, engine):
    """The run_id of a model that is live."""
    return deploy_a_model(engine, services.registry)
