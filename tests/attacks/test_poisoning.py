"""Wrong labels in quantity do not go live: the gate refuses what was learned from them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import Engine, text

from shared.jobs import requests as job_requests
from shared.services import Services
from tests.support.factories import SHOPS, add_transactions
from tests.support.jobs import job_result
from worker.training import job as training_job

ROWS = 1_000


def trained(services: Services) -> dict[str, Any]:
    """A whole training job, which deploys what passes its gate."""
    job = job_requests.request_training(
        services.engine, services.publisher, requested_by="test", limit=None, deploy="gate"
    )
    return job_result(services, job.id, training_job.train)


def flip(engine: Engine, ids: list[int], share: float, seed: int) -> None:
    """One user says of a share of these that they are something else, at random."""
    draw = random.Random(seed)
    with engine.begin() as connection:
        for txn_id in ids:
            if draw.random() < share:
                connection.execute(
                    text(
                        "UPDATE transaction_labels SET label = :label, updated_at = now() "
                        "WHERE txn_id = :id AND label <> :label"
                    ),
                    {"id": txn_id, "label": draw.choice(sorted(SHOPS))},
                )


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_model_trained_on_many_flipped_new_labels_does_not_go_live(
    services: Services, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """The run is refused with its reason, and the version before stays live."""
    monkeypatch.setenv("ML_REGISTRY_DIR", str(services.settings.registry_dir))
    ids = add_transactions(services.engine, ROWS, labelled=ROWS)
    good = trained(services)

    flip(services.engine, ids[-ROWS // 3 :], share, seed=7)
    poisoned = trained(services)

    assert good["deployed"]
    assert not poisoned["deployed"]
    assert "threshold" in poisoned["deploy_reason"] or "worse" in poisoned["deploy_reason"]
    live = services.registry.current()
    assert live is not None
    assert live.run_id == good["run_id"]
    assert {it.run_id for it in services.registry.versions()} >= {
        good["run_id"],
        poisoned["run_id"],
    }
