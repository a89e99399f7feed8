"""The suggest job: a suggestion for every transaction that nobody has labelled yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from shared.db import feature_store, open_transactions
from shared.db.engine import transaction
from shared.jobs.store import Claim
from shared.services import Services
from shared.suggestions import service as suggestion_service
from shared.suggestions import suggestion_store
from shared.suggestions.context import load_context
from shared.suggestions.service import SuggestionRequest
from worker.execution.lease import Lease
from worker.execution.runner import Outcome

PAGE = 1_000


def run(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Suggest for all of `user_id`, or of everybody; each page is kept before the next begins.

    An attempt after a lost worker goes through all of it again: suggestions are added, none is
    changed.
    """
    user_id = claim.params.get("user_id")
    with transaction(own.engine) as session:
        total = open_transactions.count(session, user_id)
    done = 0
    by_source: Counter[str] = Counter()
    for asked in pages(own, user_id):
        lease.report("suggest", done, total)
        with transaction(own.engine) as session:
            said = load_context(session, [(it.row.user_id, it.row.merchant) for it in asked])
        heard = suggestion_service.serving_context(
            own.live_model, own.challenger, own.settings, said.rollout
        )
        answers = suggestion_service.suggest_all(asked, said, heard)
        with transaction(own.engine) as session:
            suggestion_store.store(session, answers, forced=False)
        by_source.update(answer.decision.source for answer in answers)
        done += len(answers)
    lease.report("suggest", done, total)
    return Outcome({"suggested": done, "by_source": dict(by_source)})


def pages(own: Services, user_id: str | None) -> Iterator[list[SuggestionRequest]]:
    """All open transactions of a user, or of all users, in the order of their ids."""
    after = 0
    while True:
        with transaction(own.engine) as session:
            ids = open_transactions.next_ids(session, user_id, after=after, limit=PAGE)
            rows = feature_store.load_rows(session, ids)
        if not ids:
            return
        yield [SuggestionRequest(rows[txn_id], txn_id) for txn_id in ids if txn_id in rows]
        after = ids[-1]
