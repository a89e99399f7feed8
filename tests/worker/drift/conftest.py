"""A live version that was trained on most of a year."""

from __future__ import annotations

import pytest

from shared.services import Services
from tests.support.drift import train_and_deploy
from tests.support.factories import add_transactions
from worker.features import build


@pytest.fixture
def trained(services: Services) -> str:
    """The run_id of a live version; the features of all rows are built, also of the unlabelled."""
    add_transactions(services.engine, 12_000, labelled=3_000)
    build.build_pending(services.engine, build.Scope())
    return train_and_deploy(services)
