"""The features job: cuts what is pending into ranges, which all workers share."""

from __future__ import annotations

import datetime as dt
import time
from functools import partial

from shared.db.engine import transaction
from shared.errors import LedgerError
from shared.jobs import store as job_store
from shared.jobs.store import Claim
from shared.services import Services
from worker.execution.lease import Lease
from worker.execution.runner import Outcome, run
from worker.features import pending
from worker.features.build import build_range
from worker.features.pending import IdRange, Scope

POLL_S = 0.2


class RangeFailed(LedgerError):
    code = "range_failed"
    title = "A range of the build failed"


def build_features(services: Services, claim: Claim, lease: Lease) -> Outcome:
    """Build what is pending of the last `days`; several ranges, together with other workers.

    This worker cuts the ranges, builds some like any other worker, and waits for the rest. An
    attempt after a lost worker goes on with the ranges left.
    """
    started = time.monotonic()
    engine = services.engine
    scope = pending.last_days(claim.params.get("days"))
    lease.report("remove deleted")
    removed = pending.remove_deleted(engine)
    lease.report("look for changes")
    ranges = pending.pending_ranges(engine, scope)
    built = 0
    if len(ranges) == 1:
        report = partial(lease.report, "build", total=ranges[0].rows)
        built = build_range(engine, ranges[0], scope, report)
    elif ranges:
        built = _build_together(services, claim, lease, ranges, scope)
    return Outcome(
        {
            "built": built,
            "unchanged": pending.count(engine, scope) - built,
            "removed": removed,
            "ranges": len(ranges),
            "elapsed_seconds": round(time.monotonic() - started, 3),
        }
    )


def build_one_range(services: Services, claim: Claim, lease: Lease) -> Outcome:
    """Build one range of ids that a features job has cut."""
    part = IdRange(claim.params["low"], claim.params["high"], claim.params["rows"])
    since = claim.params["since"]
    scope = Scope(since=dt.date.fromisoformat(since) if since else None)
    report = partial(lease.report, "build", total=part.rows)
    built = build_range(services.engine, part, scope, report)
    report(built)
    return Outcome({"built": built})


def _build_together(
    services: Services, claim: Claim, lease: Lease, ranges: list[IdRange], scope: Scope
) -> int:
    since = scope.since.isoformat() if scope.since else None
    total = sum(part.rows for part in ranges)
    params = [{**part._asdict(), "since": since} for part in ranges]
    with transaction(services.engine) as session:
        is_cut = job_store.load_ranges(session, claim.job_id).open
        added = [] if is_cut else job_store.add_ranges(session, claim, params)
    services.publisher.publish(added)
    while True:
        with transaction(services.engine) as session:
            state = job_store.load_ranges(session, claim.job_id)
            queued = (job_store.claim(session, job_id) for job_id in state.queued)
            mine = next(filter(None, queued), None)
        lease.report("build", state.done, total)
        if mine is not None:
            run(services, mine, build_one_range)
        elif state.open:
            lease.wait(POLL_S)
        elif state.failed:
            raise RangeFailed(str(state.failed[0].get("message", "a range failed")))
        else:
            return state.done
