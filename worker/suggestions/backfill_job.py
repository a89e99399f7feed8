"""The suggest job: a suggestion for every open transaction."""

from __future__ import annotations

from collections import Counter
from functools import partial

from shared.db.engine import transaction
from shared.jobs.store import Claim
from shared.services import Services
from shared.suggestions import service as suggestion_service
from shared.suggestions import suggestion_store
from worker.execution.lease import Lease
from worker.execution.runner import Outcome
from worker.suggestions import open_transactions


def run(services: Services, claim: Claim, lease: Lease) -> Outcome:
    """Suggest for all of `user_id`, or of all users; each page is committed before the next begins.

    An attempt after a lost worker starts again: it adds suggestions and changes none.
    """
    serving_for = partial(
        suggestion_service.serving_context,
        services.live_model,
        services.challenger,
        services.settings,
    )
    by_source: Counter[str] = Counter()
    report = partial(lease.report, "suggest")
    for requests in open_transactions.pages(services.engine, claim.params.get("user_id"), report):
        with transaction(services.engine) as session:
            found = suggestion_service.look_up(session, requests, serving_for)
        results = suggestion_service.suggest(*found)
        with transaction(services.engine) as session:
            suggestion_store.store(session, results, forced=False)
        by_source.update(result.decision.source for result in results)
    return Outcome({"suggested": by_source.total(), "by_source": dict(by_source)})
