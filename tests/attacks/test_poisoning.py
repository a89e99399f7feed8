"""Wrong labels in quantity do not go live: the gate refuses what was learned from them."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import Engine, text

from shared.registry import Registry
from tests.factories import SHOPS, add_transactions
from worker import train

ROWS = 1_000


def trained(engine: Engine, registry: Registry, job_id: str) -> dict[str, object]:
    """A whole training run, as the night makes it."""
    return train.run(
        engine,
        registry,
        job_id=job_id,
        limit=None,
        only_if_new=False,
        min_labels=20,
        threshold_f1=0.72,
        progress=lambda *_: None,
    )


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
def test_many_flipped_labels_of_the_newest_do_not_go_live(
    engine: Engine, registry: Registry, clean: None, share: float
) -> None:
    """The run is refused with its reason, and the version before stays live."""
    ids = add_transactions(engine, ROWS, labelled=ROWS)
    good = trained(engine, registry, "good")
    registry.deploy(str(good["run_id"]), by="test", why="good labels")

    flip(engine, ids[-ROWS // 3 :], share, seed=7)
    poisoned = trained(engine, registry, "poisoned")

    assert good["gate"]["passed"]
    assert not poisoned["gate"]["passed"]
    live = registry.current()
    assert live is not None
    assert live.run_id == good["run_id"]
