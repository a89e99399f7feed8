"""Deploys under load: no failed answer, and none that mixes two versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.features.extract import RawTransaction, features_of
from shared.registry.store import Registry
from tests.support.factories import add_transactions
from tests.support.waiting import wait_until
from tests.system.stack import callers
from worker.features import build as feature_build
from worker.training import dataset, fit

pytestmark = pytest.mark.system

SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}


@pytest.fixture
def versions(stack, database):
    """Two versions in the stack's registry that answer differently, and what each one says."""
    add_transactions(database, 400, labelled=400)
    feature_build.build_pending(database, feature_build.Scope())
    data = dataset.load(database, limit=None)
    registry = Registry(Path(stack.env["ML_REGISTRY_DIR"]))
    row = features_of(RawTransaction(**SHOP))
    known = {}
    for rename in (lambda label: label, lambda label: f"New {label}"):
        model = fit.fit(data["row"].tolist(), [*map(rename, data["label"])], seed=0)
        meta = {"metrics": {}, "trained_through": "2026-01-01T00:00:00+00:00"}
        version = registry.save(model.to_files(), meta)
        known[version.run_id] = model.predict(row).label
    return registry, known


def test_deploys_under_load_fail_no_request_and_mix_no_versions(stack, versions):
    """Each answer is what the version that it names predicts, within two seconds of a deploy."""
    registry, known = versions
    first, second = known
    registry.deploy(first, by="test", why="the first")
    stack.web()
    wait_until(
        lambda: stack.call("GET", "/ml/v2/model/status").body["available"], "a model is live"
    )

    followed_s = []
    with callers(4, lambda: stack.call("POST", "/ml/v2/predict", SHOP)) as replies:
        for run_id in (second, first) * 5:
            deployed = stack.call("POST", f"/ml/v2/models/{run_id}/deploy", {"why": "a drill"})
            assert deployed.status == 200, deployed.body
            followed_s.append(stack.wait_until_followed(registry.current()))

    failed = [reply for reply in replies if getattr(reply, "status", None) != 200]
    answers = {(reply.body["model"]["run_id"], reply.body["label"]) for reply in replies}
    assert failed == []
    assert answers == set(known.items())
    assert max(followed_s) < 2


def test_a_rollback_brings_back_the_version_before_and_is_in_the_history(stack, versions):
    """Within two seconds, in every web process."""
    registry, known = versions
    first, second = known
    registry.deploy(first, by="test", why="the first")
    registry.deploy(second, by="test", why="the second")
    stack.web()

    reply = stack.call("POST", "/ml/v2/model/rollback", {"why": "it went wrong"})
    followed_s = stack.wait_until_followed(registry.current())
    answer = stack.call("POST", "/ml/v2/predict", SHOP).body

    assert reply.status == 200
    assert answer["model"]["run_id"] == first
    assert followed_s < 2
    assert next((p.run_id, p.action, p.why) for p in registry.history()) == (
        first,
        "rollback",
        "it went wrong",
    )
