"""The steps of a training run."""

from __future__ import annotations

from shared.services import Services
from tests.support.drift import (
    run_training,
)
from tests.support.factories import add_transactions


def test_a_night_with_too_few_labels_is_skipped_and_says_so(services: Services) -> None:
    add_transactions(services.engine, 30, labelled=5)

    assert run_training(services).to_json() == {
        "skipped": True,
        "reason": "5 labelled transactions found, 20 needed",
    }
