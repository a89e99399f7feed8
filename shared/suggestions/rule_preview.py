"""What a set of rules would change, seen on stored transactions before the set is saved."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass
from sqlalchemy import func, select, true
from sqlalchemy.orm import Session

from shared.db.feature_store import RAW_COLUMNS, raw_transaction
from shared.db.open_transactions import CLOSED_BY
from shared.db.tables import Transaction, TransactionLabel
from shared.features.extract import features_of
from shared.rules import store as rule_store
from shared.rules.schema import Rule
from shared.suggestions import service as suggestion_service
from shared.suggestions.context import load_context
from shared.suggestions.service import ServingContext, SuggestionRequest

SAMPLES = 5  # of each rule
PAIRS = 50  # the commonest ones


@dataclass(frozen=True, slots=True)
class Sample:
    """A transaction that the rule decides; `label` is what a person or an import said. `before`
    and `after` are what is suggested, null: ask."""

    txn_id: int
    date: str
    merchant: str
    amount: float
    label: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What one rule does: `matches` are the transactions that it decides; of those,
    `against_labels` are called otherwise by the user."""

    title: str
    label: str
    matches: int
    against_labels: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """So many transactions would be suggested `after` instead of `before`; null: ask."""

    before: str | None
    after: str | None
    transactions: int


@checked_dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Preview:
    """The newest `looked_at` of `of` transactions, with these rules in place of those stored."""

    looked_at: int
    of: int
    changed: int
    changes: tuple[Change, ...]
    rules: tuple[Effect, ...]


def preview(
    session: Session, user_id: str, rules: Sequence[Rule], heard: ServingContext, limit: int
) -> Preview:
    """Compare the rules that are kept with *rules* in their place; nothing is written.

    Args:
        user_id: whose set it is; the transactions are his, or for rulebook.EVERYONE all.
        heard: who is in which arm, and the models: each transaction is looked at in its user's.
        limit: transactions looked at, the newest ones.
    """
    of, found = _newest(session, user_id, limit)
    asked = [SuggestionRequest(features_of(raw_transaction(row)), row["id"]) for row in found]
    said = load_context(session, [(it.row.user_id, it.row.merchant) for it in asked])
    book = rule_store.matcher_for(user_id, rules)
    changed = replace(said, matchers={**said.matchers, user_id: book})
    alone = heard._replace(shadow=False)
    before, after = (
        suggestion_service.suggest_all(asked, known, alone) for known in (said, changed)
    )
    layer = "shared rule" if user_id == rule_store.SHARED else "own rule"
    pairs: Counter[tuple[str | None, str | None]] = Counter()
    fits: Counter[int] = Counter()
    against: Counter[int] = Counter()
    samples: defaultdict[int, list[Sample]] = defaultdict(list)
    for row, item, old, new in zip(found, asked, before, after, strict=True):
        labels = old.decision.label, new.decision.label
        if labels[0] != labels[1]:
            pairs[labels] += 1
        place = book.find(item.row)
        if place is None or new.decision.layer != layer:
            continue  # it fits, and another layer speaks before it
        fits[place] += 1
        against[place] += row["label"] not in (None, rules[place].label)
        if len(samples[place]) < SAMPLES:
            samples[place].append(_sample(row, *labels))
    return Preview(
        looked_at=len(found),
        of=of,
        changed=pairs.total(),
        changes=tuple(Change(*labels, count) for labels, count in pairs.most_common(PAIRS)),
        rules=tuple(
            Effect(rule.title, rule.label, fits[place], against[place], tuple(samples[place]))
            for place, rule in enumerate(rules)
        ),
    )


def _newest(session: Session, user_id: str, limit: int) -> tuple[int, Sequence[Any]]:
    whose = true() if user_id == rule_store.SHARED else Transaction.user_id == user_id
    there = whose, Transaction.deleted_at.is_(None)
    newest = (
        select(Transaction.id, *RAW_COLUMNS, TransactionLabel.label)
        .outerjoin(TransactionLabel, CLOSED_BY)
        .where(*there)
        .order_by(Transaction.date.desc(), Transaction.id.desc())
        .limit(limit)
    )
    of = session.scalar(select(func.count(Transaction.id)).where(*there)) or 0
    return of, session.execute(newest).mappings().all()


def _sample(row: Any, before: str | None, after: str | None) -> Sample:
    return Sample(
        row["id"],
        row["date"].isoformat(),
        row["merchant"] or row["description"] or "",
        float(row["amount"]),
        row["label"],
        before,
        after,
    )
