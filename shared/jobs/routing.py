"""Which queue carries which kind of job."""

from __future__ import annotations

from shared.db.tables import JobKind

QUEUES: dict[str, tuple[JobKind, ...]] = {
    "features": (
        JobKind.FEATURES,
        JobKind.FEATURES_RANGE,
        JobKind.RULES,
        JobKind.SUGGEST,
        JobKind.DRIFT,
        JobKind.IMPORT,
    ),
    "training": (JobKind.TRAIN,),
}
QUEUE_OF = {kind: queue for queue, kinds in QUEUES.items() for kind in kinds}
