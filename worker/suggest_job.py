"""The suggest job: a suggestion for every transaction that nobody has labelled yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, func, not_, select, true

from shared import stored, suggester, suggestion_store
from shared.db import transaction
from shared.jobs import Claim
from shared.known import known
from shared.services import Services
from shared.suggester import Asked
from shared.tables import LabelSource, Transaction, TransactionLabel
from worker.lease import Lease
from worker.run import Outcome

PAGE = 1_000


def _open(user_id: str | None, after: int = 0) -> ColumnElement[bool]:
    """Transactions of a user, or of everybody, without a person's or an import's label."""
    said = select(TransactionLabel.txn_id).where(
        TransactionLabel.txn_id == Transaction.id, TransactionLabel.source != LabelSource.RULE
    )
    whose = true() if user_id is None else Transaction.user_id == user_id
    return and_(
        whose, Transaction.id > after, Transaction.deleted_at.is_(None), not_(said.exists())
    )


def suggest_history(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Suggest for all of `user_id`, or of everybody; each page is kept before the next begins.

    An attempt after a lost worker goes through all of it again: suggestions are added, none is
    changed.
    """
    user_id = claim.params.get("user_id")
    total = count_open(own, user_id)
    done = 0
    by_source: Counter[str] = Counter()
    for asked in pages(own, user_id):
        lease.report("suggest", done, total)
        with transaction(own.engine) as session:
            said = known(session, [(it.row.user_id, it.row.merchant) for it in asked])
        heard = suggester.heard(own.runtime, own.challengers, own.settings, said.rollout)
        answers = suggester.answer_all(asked, said, heard)
        with transaction(own.engine) as session:
            suggestion_store.keep(session, answers, forced=False)
        by_source.update(answer.suggested.source for answer in answers)
        done += len(answers)
    lease.report("suggest", done, total)
    return Outcome({"suggested": done, "by_source": dict(by_source)})


def count_open(own: Services, user_id: str | None) -> int:
    """How many transactions `pages` goes through."""
    with transaction(own.engine) as session:
        return session.scalar(select(func.count(Transaction.id)).where(_open(user_id))) or 0


def pages(own: Services, user_id: str | None) -> Iterator[list[Asked]]:
    """All transactions that no person and no import has labelled, in the order of their ids."""
    after = 0
    while True:
        page = select(Transaction.id).where(_open(user_id, after))
        with transaction(own.engine) as session:
            ids = session.scalars(page.order_by(Transaction.id).limit(PAGE)).all()
            rows = stored.rows(session, ids)
        if not ids:
            return
        yield [Asked(rows[txn_id], txn_id) for txn_id in ids if txn_id in rows]
        after = ids[-1]
