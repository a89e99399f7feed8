"""A deleted user is nobody, at the next request, to every version that learned from them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from shared.errors import DamagedVersion, Unavailable
from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.classifier import Model
from shared.registry import deleted_users
from shared.registry.challenger import ChallengerModel
from shared.registry.live_model import LiveModel
from shared.registry.store import Registry
from worker.training import fit

USERS = ("ada", "bob", "eve")


def row(user: str) -> FeatureRow:
    return features_of(RawTransaction(merchant="night clinic", amount=-9, user_id=user))


@pytest.fixture(scope="module")
def model() -> Model:
    """Each user has a name of their own for the clinic; all call the grocer alike."""
    rows, labels = [], []
    for user in USERS:
        grocer = features_of(RawTransaction(merchant="grocer", amount=-9, user_id=user))
        rows += [row(user)] * 10 + [grocer] * 10
        labels += [f"care of {user}"] * 10 + ["food"] * 10
    return fit.fit(rows, labels)


@pytest.fixture
def run_id(registry: Registry, model: Model) -> str:
    run_id = registry.save(model.to_files(), {}).run_id
    registry.deploy(run_id, by="test", why="a test")
    return run_id


def label_of(live: LiveModel, user: str) -> str:
    served = live.predict(row(user))
    assert served is not None
    return served.prediction.label


def test_deleted_user_is_a_stranger_at_the_next_request(registry: Registry, run_id: str) -> None:
    """In every process, without a look at the pointer."""
    lives = [LiveModel(registry, poll_s=1e6) for _ in range(2)]
    before = [label_of(live, "ada") for live in lives]

    registry.delete_user("ada")

    assert before == ["care of ada"] * 2
    assert [label_of(live, "ada") for live in lives] == ["food"] * 2
    assert [label_of(live, "bob") for live in lives] == ["care of bob"] * 2
    for live in lives:
        live.stop()


def test_version_that_is_loaded_later_does_not_know_them(registry: Registry, run_id: str) -> None:
    registry.delete_user("ada")
    live = LiveModel(registry, poll_s=1e6)

    assert label_of(live, "ada") == "food"
    live.stop()


def test_version_on_trial_does_not_know_them(registry: Registry, run_id: str) -> None:
    challengers = ChallengerModel(registry)
    challengers.model(run_id)
    challengers.stop()
    registry.delete_user("ada")

    served = challengers.model(run_id)

    assert served is not None
    assert served.model.predict(row("ada")).label == "food"


def test_version_trained_later_knows_who_came_back(registry: Registry, model: Model) -> None:
    registry.delete_user("ada")
    later = dt.datetime.now(dt.UTC) + deleted_users.DELETION_TIME + dt.timedelta(minutes=1)
    meta = {"read_at": later.isoformat()}
    registry.deploy(registry.save(model.to_files(), meta).run_id, by="test", why="a test")
    live = LiveModel(registry, poll_s=1e6)

    assert label_of(live, "ada") == "care of ada"
    live.stop()


def test_file_holds_no_id_and_only_whom_some_version_knows(
    registry: Registry, root: Path, run_id: str
) -> None:
    registry.delete_user("ada")
    old = deleted_users.read(root)
    a_month_ago = (dt.datetime.now(dt.UTC) - dt.timedelta(days=30)).isoformat()
    aged = deleted_users.DeletedUsers(old.key, dict.fromkeys(old.times, a_month_ago))
    deleted_users.write(root, aged)

    registry.delete_user("bob")

    assert "ada" not in deleted_users.read(root)
    assert "bob" in deleted_users.read(root)
    assert b"bob" not in (root / deleted_users.FILE).read_bytes()


def test_damaged_file_stops_a_deletion_and_no_answer(
    registry: Registry, root: Path, run_id: str
) -> None:
    live = LiveModel(registry, poll_s=1e6)
    live.start()
    (root / deleted_users.FILE).write_bytes(b"garbage")

    with pytest.raises(Unavailable, match="checksum"):
        registry.delete_user("ada")
    with pytest.raises(DamagedVersion):
        registry.deleted_users(dt.datetime.now(dt.UTC))
    assert label_of(live, "ada") == "care of ada"
    live.stop()
