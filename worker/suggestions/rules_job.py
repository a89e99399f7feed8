"""The rules job: rules label stored transactions, except those labelled by a person or an import.

A label that a rule gave before, and none gives now, is removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.db import labels
from shared.db.engine import transaction
from shared.db.tables import Arm, LabelSource, Transaction, TransactionLabel
from shared.jobs.store import Claim
from shared.services import Services
from shared.suggestions import service as suggestion_service
from shared.suggestions.context import load_context
from shared.suggestions.decision import decide
from shared.suggestions.service import ServingContext, SuggestionRequest
from worker.execution.lease import Lease
from worker.execution.runner import Outcome
from worker.suggestions import open_transactions

RULE_LAYERS = ("own rule", "shared rule")


def apply_rules(services: Services, claim: Claim, lease: Lease) -> Outcome:
    """Apply a user's rules, or all users', and the shared ones, in the order of the layers.

    Each page is committed before the next begins; doing it again changes nothing.
    """
    serving = ServingContext(live=services.live_model.current())
    counts: Counter[str] = Counter(looked_at=0, labelled=0, changed=0, unchanged=0, removed=0)
    report = partial(lease.report, "apply")
    for requests in open_transactions.pages(services.engine, claim.params.get("user_id"), report):
        with transaction(services.engine) as session:
            counts.update(write_labels(session, labels_by_rule(session, requests, serving)))
        counts["looked_at"] += len(requests)
    return Outcome(dict(counts))


def labels_by_rule(
    session: Session, requests: Sequence[SuggestionRequest], serving: ServingContext
) -> dict[int, str | None]:
    """By transaction, the label of the rule that decides; None where another layer comes first."""
    context = load_context(session, [it.row for it in requests])
    thresholds = serving.thresholds_for(Arm.RULES)
    decided: dict[int, str | None] = {}
    for item in suggestion_service.gather_evidence(requests, context, serving, Arm.RULES):
        decision = decide(item.evidence, thresholds)
        if item.request.txn_id is not None:
            decided[item.request.txn_id] = decision.label if decision.layer in RULE_LAYERS else None
    return decided


def write_labels(session: Session, decided: Mapping[int, str | None]) -> dict[str, int]:
    """Write the labels of a page, except over a person's or an import's label that came meanwhile,
    and for a user deleted meanwhile."""
    stored = select(Transaction.id).where(Transaction.id.in_(decided)).order_by(Transaction.id)
    given = {
        txn_id: label
        for txn_id in session.scalars(stored.with_for_update(read=True, key_share=True))
        if (label := decided[txn_id]) is not None
    }
    by_rule = (TransactionLabel.txn_id.in_(decided), TransactionLabel.source == LabelSource.RULE)
    labelled = select(TransactionLabel.txn_id, TransactionLabel.label).where(*by_rule)
    before = {txn_id: label for txn_id, label in session.execute(labelled)}  # noqa: C416
    new = {
        txn_id: (label, LabelSource.RULE)
        for txn_id, label in given.items()
        if before.get(txn_id) != label
    }
    removed = [txn_id for txn_id in before if txn_id not in given]
    written = labels.put(session, new, only_over_rules=True)
    if removed:
        session.execute(
            delete(TransactionLabel).where(*by_rule, TransactionLabel.txn_id.in_(removed))
        )
    changed = sum(txn_id in before for txn_id in written)
    return {
        "labelled": len(written) - changed,
        "changed": changed,
        "unchanged": len(given) - len(new),
        "removed": len(removed),
    }
