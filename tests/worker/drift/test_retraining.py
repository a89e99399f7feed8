"""When training starts before the night, and why or why not."""

from __future__ import annotations

import pytest

from shared.db.engine import transaction
from shared.services import Services
from tests.support.drift import (
    SOON,
    add_ended_training,
    decide,
    execute,
    relabel_sixty,
)
from tests.support.factories import add_transactions, report


def test_first_training_does_not_wait_for_the_night(services: Services) -> None:
    assert not decide(services).retrain
    add_transactions(services.engine, 30, labelled=25)

    assert decide(services) == (True, "no version yet, 25 labels of 20 needed")
    assert not decide(services, retrain_labels=0).retrain


def test_labels_of_deleted_transactions_are_not_counted(services: Services) -> None:
    add_transactions(services.engine, 30, labelled=25)
    execute(services, "UPDATE transactions SET deleted_at = now() WHERE id % 2 = 0")

    assert not decide(services).retrain


def test_new_human_labels_start_training_early(services: Services, trained: str) -> None:
    relabel_sixty(services)

    assert decide(services, retrain_labels=50) == (True, "60 new labels of people, 60 are enough")
    assert not decide(services, retrain_labels=100).retrain


@pytest.mark.parametrize(
    ("refused", "hours", "asks"), [(1, 5, False), (1, 7, True), (2, 7, False), (2, 13, True)]
)
def test_wait_doubles_after_each_refused_run(
    services: Services, trained: str, refused: int, hours: float, asks: bool
) -> None:
    with transaction(services.engine) as session:
        session.add(report("amount", run_id=trained, created_at=SOON))
    add_ended_training(services, 400, {"deployed": False})
    add_ended_training(services, 300, {"deployed": True})
    for number in range(refused):
        add_ended_training(services, hours + number, {"deployed": False})
    add_ended_training(services, 100, {"skipped": True})

    found = decide(services)

    assert found.retrain is asks
    assert "drift of amount" in found.why
    assert asks or f"{refused} runs in a row did not go live" in found.why


def test_run_without_new_labels_is_not_repeated_each_hour(services: Services, trained: str) -> None:
    with transaction(services.engine) as session:
        session.add(report("amount", run_id=trained, created_at=SOON))
    assert decide(services).retrain
    add_ended_training(services, 0, {"skipped": True})

    found = decide(services)

    assert not found.retrain
    assert "nothing had changed to learn from" in found.why


def test_labels_after_a_skipped_night_start_training_early(
    services: Services, trained: str
) -> None:
    add_ended_training(services, 1, {"skipped": True})
    relabel_sixty(services)

    assert decide(services) == (True, "60 new labels of people, 60 are enough")
