"""The rules job: what rules say of stored transactions becomes their label, unless a person or an
import has said something.

A label that rules gave before, and give no more, is taken away again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.db import labels, open_transactions
from shared.db.engine import transaction
from shared.db.tables import Arm, LabelSource, Transaction, TransactionLabel
from shared.jobs.store import Claim
from shared.model.thresholds import Thresholds
from shared.services import Services
from shared.suggestions import service as suggestion_service
from shared.suggestions.context import load_context
from shared.suggestions.service import SuggestionResult
from worker.execution.lease import Lease
from worker.execution.runner import Outcome
from worker.suggestions.backfill_job import pages

RULES_SAY = ("own rule", "shared rule")


def apply_rules(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Apply the rules of `user_id`, or of everybody, and everyone's, in the order of the layers.

    Each page is committed before the next begins; doing it again changes nothing.
    """
    user_id = claim.params.get("user_id")
    served = own.live_model.current()
    bars = served.model.thresholds if served else Thresholds()
    with transaction(own.engine) as session:
        total = open_transactions.count(session, user_id)
    counts: Counter[str] = Counter(labelled=0, changed=0, unchanged=0, removed=0)
    done = 0
    for asked in pages(own, user_id):
        lease.report("apply", done, total)
        with transaction(own.engine) as session:
            said = load_context(session, [(it.row.user_id, it.row.merchant) for it in asked])
            answers = suggestion_service.suggest(asked, said, Arm.RULES, None, bars)
            counts.update(write_labels(session, answers))
        done += len(asked)
    lease.report("apply", done, total)
    return Outcome({"looked_at": done, **counts})


def write_labels(session: Session, answers: Sequence[SuggestionResult]) -> dict[str, int]:
    """Labels of a page as its answers say; a person's word that came meanwhile stands, and so does
    that a user was deleted."""
    said = {it.request.txn_id: it.decision for it in answers if it.request.txn_id}
    there = select(Transaction.id).where(Transaction.id.in_(said)).order_by(Transaction.id)
    left = {*session.scalars(there.with_for_update(read=True, key_share=True))}
    given = {
        txn_id: it.label
        for txn_id, it in said.items()
        if it.label is not None and it.layer in RULES_SAY and txn_id in left
    }
    mine = select(TransactionLabel.txn_id, TransactionLabel.label).where(
        TransactionLabel.txn_id.in_(said), TransactionLabel.source == LabelSource.RULE
    )
    before = {txn_id: label for txn_id, label in session.execute(mine)}  # noqa: C416
    new = {txn_id: label for txn_id, label in given.items() if before.get(txn_id) != label}
    gone = [txn_id for txn_id in before if txn_id not in given]
    written = labels.put_by_rules(session, new)
    if gone:
        session.execute(
            delete(TransactionLabel).where(
                TransactionLabel.txn_id.in_(gone), TransactionLabel.source == LabelSource.RULE
            )
        )
    changed = sum(txn_id in before for txn_id in written)
    return {
        "labelled": len(written) - changed,
        "changed": changed,
        "unchanged": len(given) - len(new),
        "removed": len(gone),
    }
