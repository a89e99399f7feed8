"""The version on trial: loaded aside, never waited for, and refused like any bad version."""

from __future__ import annotations

import os
import threading

import pytest

from shared.registry.challenger import ChallengerModel
from tests.shared.registry.test_live_model import ROW, Outcomes
from tests.support.registry_damage import flip_a_bit
from tests.support.registry_writer import TwoParts, run_id_of, save


@pytest.fixture
def outcomes():
    return Outcomes()


@pytest.fixture
def challengers(registry, outcomes):
    made = ChallengerModel(registry, loader=TwoParts, on_load=outcomes)
    yield made
    made.stop()


def predict_with(served):
    return served and served.model.predict(ROW)


def test_challenger_is_loaded_in_the_background(registry, outcomes):
    """Until then the caller answers without it; however many ask, it is loaded once."""
    save(registry, 1)
    go, loads = threading.Event(), []

    def slowly(files):
        loads.append(1)
        assert go.wait(60)
        return TwoParts(files)

    challengers = ChallengerModel(registry, loader=slowly, on_load=outcomes)
    early = [challengers.model(run_id_of(1)) for _ in range(5)]
    go.set()
    assert outcomes.wait_for("loaded")

    assert early == [None] * 5
    served = challengers.model(run_id_of(1))
    assert predict_with(served) == [1, 1]
    assert served.deployment.run_id == run_id_of(1)
    assert served.manifest.meta["number"] == 1
    assert loads == [1]


def test_one_challenger_is_loaded_at_a_time(registry, challengers, outcomes):
    """Another one on trial, or none, lets go of it."""
    save(registry, 1)
    save(registry, 2)
    challengers.model(run_id_of(1))
    assert outcomes.wait_for("loaded")

    assert challengers.model(run_id_of(2)) is None
    assert outcomes.wait_for("loaded", "loaded")
    assert predict_with(challengers.model(run_id_of(2))) == [2, 2]
    assert challengers.model(None) is None
    assert challengers.model(run_id_of(2)) is None
    assert outcomes.wait_for("loaded", "loaded", "loaded")


def test_challenger_dropped_while_loading_is_not_served(registry, outcomes):
    """The trial ended meanwhile, or another one began."""
    save(registry, 1)
    save(registry, 2)
    began, go = threading.Event(), threading.Event()

    def slowly(files):
        began.set()
        assert go.wait(60)
        return TwoParts(files)

    challengers = ChallengerModel(registry, loader=slowly, on_load=outcomes)
    challengers.model(run_id_of(1))
    assert began.wait(60)
    challengers.model(run_id_of(2))
    go.set()
    challengers.stop()

    assert challengers.model(run_id_of(2)) is None
    assert outcomes.wait_for("loaded", "loaded")
    assert predict_with(challengers.model(run_id_of(2))) == [2, 2]


def test_a_damaged_version_is_refused_quarantined_and_not_tried_again(
    registry, root, challengers, outcomes
):
    save(registry, 1)
    flip_a_bit(root / "versions" / run_id_of(1) / "model.json")

    challengers.model(run_id_of(1))
    assert outcomes.wait_for("refused")
    challengers.stop()

    assert challengers.model(run_id_of(1)) is None
    challengers.stop()
    assert challengers.model(run_id_of(1)) is None
    assert "model.json" in registry.quarantined(run_id_of(1))
    assert outcomes.recorded == ["refused"]


def test_a_version_that_the_loader_refuses_is_quarantined_without_quoting_it(registry, outcomes):
    """Foreign errors may quote what they read."""
    save(registry, 1)

    def refuse(files):
        raise ValueError("a merchant's name")

    challengers = ChallengerModel(registry, loader=refuse, on_load=outcomes)
    challengers.model(run_id_of(1))
    assert outcomes.wait_for("refused")
    challengers.stop()

    assert registry.quarantined(run_id_of(1)) == "the version cannot be read: ValueError"


def test_quarantined_version_is_not_read(registry, outcomes):
    save(registry, 1)
    registry.quarantine(run_id_of(1), "a person said so")
    challengers = ChallengerModel(registry, on_load=outcomes)

    challengers.model(run_id_of(1))

    assert outcomes.wait_for("refused")
    challengers.stop()
    assert registry.quarantined(run_id_of(1)) == "a person said so"


def test_missing_version_is_tried_again_later(registry, challengers, outcomes, monkeypatch):
    """A registry on a network disk may show it late."""
    monkeypatch.setattr("shared.registry.challenger.RETRY_S", 0.0)
    challengers.model(run_id_of(1))
    assert outcomes.wait_for("missing")
    challengers.stop()
    save(registry, 1)

    challengers.model(run_id_of(1))

    assert outcomes.wait_for("missing", "loaded")
    assert predict_with(challengers.model(run_id_of(1))) == [1, 1]


def test_forked_process_loads_the_challenger_itself(registry, outcomes):
    """Also if it was forked in the middle of a load, when the lock and the thread are no more."""
    save(registry, 1)
    began, go = threading.Event(), threading.Event()

    def slowly(files):
        began.set()
        assert go.wait(60)
        return TwoParts(files)

    challengers = ChallengerModel(registry, loader=slowly, on_load=outcomes)
    challengers.model(run_id_of(1))
    assert began.wait(60)

    child = os.fork()
    if child == 0:
        code = 1
        try:
            go.set()
            challengers.model(run_id_of(1))
            challengers.stop()
            code = 0 if predict_with(challengers.model(run_id_of(1))) == [1, 1] else 2
        finally:
            os._exit(code)
    go.set()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
