"""Deployments: one live version, its history, rollbacks, and deploys that exclude each other."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import (
    DamagedVersion,
    DeployConflict,
    InvalidInput,
    NothingToRollBack,
)
from shared.registry.store import Registry
from tests.support import registry_writer
from tests.support.registry_damage import overwrite
from tests.support.registry_writer import number_live, publish, run_id_of, save


def test_history_has_the_version_person_time_and_reason_of_each_deployment(
    registry: Registry,
) -> None:
    """Newest first, rollbacks among them."""
    save(registry, 1)
    save(registry, 2)
    registry.deploy(run_id_of(1), by="ann", why="first")
    registry.deploy(run_id_of(2), by="nightly", why="F1 0.81 ≥ 0.72")
    registry.rollback(by="bob", why="complaints")

    rows = [(p.sequence, p.action, p.run_id, p.by, p.why) for p in registry.history()]

    assert rows == [
        (3, "rollback", run_id_of(1), "bob", "complaints"),
        (2, "deploy", run_id_of(2), "nightly", "F1 0.81 ≥ 0.72"),
        (1, "deploy", run_id_of(1), "ann", "first"),
    ]
    assert registry.history()[0] == registry.current()
    assert [p.at for p in registry.history()] == sorted(p.at for p in registry.history())[::-1]


def test_rolling_back_twice_goes_back_two_versions(registry: Registry) -> None:
    """At night one expects to get further back, not to flip between two bad versions."""
    for number in (1, 2, 3):
        publish(registry, number)

    registry.rollback(by="ann", why="bad")
    assert number_live(registry) == 2
    registry.rollback(by="ann", why="also bad")
    assert number_live(registry) == 1
    with pytest.raises(NothingToRollBack):
        registry.rollback(by="ann", why="still bad")


def test_a_rollback_passes_over_what_was_rolled_back_before(registry: Registry) -> None:
    """1, 2, back to 1, then 3: from 3 the way back is 1, since 2 was rejected."""
    publish(registry, 1)
    publish(registry, 2)
    registry.rollback(by="ann", why="bad")
    publish(registry, 3)
    current = registry.current()
    assert current is not None
    assert current.previous == run_id_of(1)

    registry.rollback(by="ann", why="bad too")

    assert number_live(registry) == 1


def test_any_version_can_be_deployed_again_and_rolled_back_from(registry: Registry) -> None:
    """1, 2, then 1 by its id: a rollback returns to 2, and another one to 1."""
    publish(registry, 1)
    publish(registry, 2)
    registry.deploy(run_id_of(1), by="ann", why="by hand")

    numbers = []
    for _ in range(2):
        registry.rollback(by="ann", why="back")
        numbers.append(number_live(registry))

    assert numbers == [2, 1]


def test_deploying_the_live_version_changes_nothing(registry: Registry) -> None:
    """Who did not hear the answer may ask again, also with the sequence of his first try."""
    save(registry, 1)
    first = registry.deploy(run_id_of(1), by="ann", why="go", expected_sequence=0)

    again = registry.deploy(run_id_of(1), by="ann", why="go", expected_sequence=0)

    assert again == first
    assert len(registry.history()) == 1


@pytest.mark.parametrize("spoil", ["damage", "prune", "quarantine"])
def test_a_rollback_to_a_version_that_is_no_longer_good_names_it(
    root: Path, registry: Registry, spoil: str
) -> None:
    """The live version stays, and the operator knows which one is lost."""
    publish(registry, 1)
    publish(registry, 2)
    if spoil == "damage":
        overwrite(root / "versions" / run_id_of(1) / "model.json", b"{}")
    elif spoil == "prune":
        shutil.rmtree(root / "versions" / run_id_of(1))
    else:
        registry.quarantine(run_id_of(1), "does not parse")

    with pytest.raises(DamagedVersion, match=run_id_of(1)):
        registry.rollback(by="ann", why="bad")

    assert number_live(registry) == 2


def test_a_text_too_long_for_the_history_is_refused(registry: Registry) -> None:
    """Else a pointer could grow past what is read."""
    save(registry, 1)

    with pytest.raises(InvalidInput, match="why must have at most"):
        registry.deploy(run_id_of(1), by="ann", why="x" * 2001)

    assert registry.current() is None


def test_second_deployment_based_on_the_same_live_version_is_a_conflict(registry: Registry) -> None:
    """A trainer that was frozen and wakes up must not undo a newer deploy."""
    publish(registry, 1)
    save(registry, 2)
    save(registry, 3)
    registry.deploy(run_id_of(3), by="fast", why="", expected_sequence=1)

    with pytest.raises(DeployConflict, match="deploy 2 is live, 1 was expected"):
        registry.deploy(run_id_of(2), by="slow", why="", expected_sequence=1)

    assert number_live(registry) == 3


def test_of_many_threads_that_expect_one_sequence_one_deploys(registry: Registry) -> None:
    publish(registry, 1)
    numbers = range(2, 10)
    for number in numbers:
        save(registry, number)
    gate = threading.Barrier(len(numbers))

    def attempt(number: int) -> bool:
        gate.wait(60)
        try:
            registry.deploy(run_id_of(number), by="race", why="", expected_sequence=1)
        except DeployConflict:
            return False
        return True

    with ThreadPoolExecutor(len(numbers)) as pool:
        won = [number for number, ok in zip(numbers, pool.map(attempt, numbers), strict=True) if ok]

    assert won == [number_live(registry)]
    assert [p.sequence for p in registry.history()] == [2, 1]


def test_of_many_processes_that_expect_one_sequence_one_deploys(
    root: Path, registry: Registry
) -> None:
    publish(registry, 1)
    numbers = range(2, 8)
    for number in numbers:
        save(registry, number)
    gate = registry_writer.PROCESSES.Barrier(len(numbers))

    racers = [
        registry_writer.start(registry_writer.deploy_at_once, root, number, 1, gate)
        for number in numbers
    ]
    for racer in racers:
        racer.join(60)

    won = [
        number
        for number, racer in zip(numbers, racers, strict=True)
        if racer.exitcode == registry_writer.WON
    ]
    assert won == [number_live(registry)]
    assert [racer.exitcode for racer in racers].count(registry_writer.LOST) == len(numbers) - 1
