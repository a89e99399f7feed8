"""The features job: what is pending is cut into ranges, and every worker takes some of them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence

from shared.db.engine import transaction
from shared.db.tables import Job
from shared.errors import LedgerError
from shared.jobs import store as job_store
from shared.jobs.store import Claim
from shared.services import Services
from worker.execution.lease import Lease
from worker.execution.runner import Outcome, run
from worker.features import build as feature_build
from worker.features.build import IdRange, Scope


class RangeFailed(LedgerError):
    code = "range_failed"
    title = "A range of the build failed"


def build_features(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Build what is pending of the last `days`; with much of it, together with other workers.

    This worker cuts the ranges, takes them one after another like any other worker, and waits for
    those that others have taken. An attempt after a lost worker goes on with the ranges left.
    """
    started = time.monotonic()
    scope = feature_build.last_days(claim.params.get("days"))
    lease.report("remove deleted")
    removed = feature_build.remove_deleted(own.engine)
    lease.report("look for changes")
    ranges = feature_build.pending_ranges(own.engine, scope)
    built = 0
    total = sum(part.rows for part in ranges)
    if len(ranges) == 1:
        built = feature_build.build_range(
            own.engine, ranges[0], scope, progress=lambda n: lease.report("build", n, total)
        )
    elif ranges:
        built = _build_together(own, claim, lease, ranges, scope, total)
    unchanged = feature_build.count(own.engine, scope) - built
    return Outcome(
        {
            "built": built,
            "unchanged": unchanged,
            "removed": removed,
            "ranges": len(ranges),
            "elapsed_seconds": round(time.monotonic() - started, 3),
        }
    )


def build_one_range(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Build one range of ids that a features job has cut."""
    part = IdRange(claim.params["low"], claim.params["high"], claim.params["rows"])
    since = claim.params["since"]
    built = feature_build.build_range(
        own.engine,
        part,
        Scope(since=dt.date.fromisoformat(since) if since else None),
        progress=lambda done: lease.report("build", done, part.rows),
    )
    lease.report("build", built, part.rows)
    return Outcome({"built": built})


def _build_together(
    own: Services,
    claim: Claim,
    lease: Lease,
    ranges: list[IdRange],
    scope: Scope,
    total: int,
) -> int:
    window = {"since": scope.since.isoformat() if scope.since else None}
    with transaction(own.engine) as session:
        if job_store.ranges_of(session, claim.job_id).open:
            added: Sequence[Job] = []
        else:
            parts = [{**part._asdict(), **window} for part in ranges]
            added = job_store.add_ranges(session, claim, parts)
    own.publisher.publish(added)
    while True:
        with transaction(own.engine) as session:
            standing = job_store.ranges_of(session, claim.job_id)
            mine = next(filter(None, (job_store.claim(session, i) for i in standing.queued)), None)
        lease.report("build", standing.done, total)
        if mine is not None:
            run(own, mine, build_one_range)
        elif standing.open:
            lease.wait(0.2)
        else:
            break
    if standing.failed:
        raise RangeFailed(str(standing.failed[0].get("message", "a range failed")))
    return standing.done
