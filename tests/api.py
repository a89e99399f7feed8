"""The API in this process, on the real database and broker of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from shared.registry import Registry
from shared.settings import Token
from tests.factories import add_transactions
from worker import dataset, feature_build, learner

ADMIN = "admin-secret-0123456789"
PREDICT = "predict-secret-0123456789"
TOKENS = (Token(scope="admin", secret=ADMIN), Token(scope="predict", secret=PREDICT))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def deploy_a_model(
    engine: Engine,
    registry: Registry,
    *,
    rename: str = "",
    classes: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Train on made-up shops, deploy, and give the run_id.

    Args:
        rename: goes before each label.
        classes: the figures of each class in the evaluation report.
    """
    if feature_build.count(engine, feature_build.Scope(labelled=True)) == 0:
        add_transactions(engine, 300, labelled=300)
    feature_build.refresh(engine, feature_build.Scope())
    data = dataset.load(engine, limit=None)
    model = learner.fit(data.rows, [rename + label for label in data.labels], seed=0)
    meta = {
        "val_f1_macro": 0.9,
        "val_accuracy": 0.9,
        "gate": {"passed": True, "reason": "made up"},
        "report": {"accuracy": 0.9, **({"classes": [*classes]} if classes else {})},
        "trained_through": max(data.labelled_at).isoformat(),
    }
    version = registry.save(model.to_files(), meta)
    registry.deploy(version.run_id, by="test", why="a test")
    return version.run_id
