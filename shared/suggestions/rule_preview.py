"""Preview of a rule set: its effect on stored transactions, before it is saved."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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
from shared.rules.matcher import RuleMatch
from shared.rules.schema import Rule
from shared.suggestions import service as suggestion_service
from shared.suggestions.context import add_label_profiles, load_context
from shared.suggestions.decision import decided_label
from shared.suggestions.service import GatheredEvidence, ServingContext, SuggestionRequest

SAMPLES = 5  # of each rule
PAIRS = 50  # the most frequent ones


@dataclass(frozen=True, slots=True)
class Sample:
    """A transaction that the rule decides, with its `label` by a user or an import. `before` and
    `after` are the suggested labels, null: ask."""

    txn_id: int
    date: str
    merchant: str
    amount: float
    label: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of one rule: it decides `matches` transactions, of which `against_labels` have
    another label."""

    title: str
    label: str
    matches: int
    against_labels: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The number of transactions for which `after` replaces the suggestion `before`; null: ask."""

    before: str | None
    after: str | None
    transactions: int


@checked_dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Preview:
    """The newest `looked_at` of `of` transactions, with these rules in place of the stored ones."""

    looked_at: int
    of: int
    changed: int
    changes: tuple[Change, ...]
    rules: tuple[Effect, ...]


def preview(
    session: Session, user_id: str, rules: Sequence[Rule], serving: ServingContext, limit: int
) -> Preview:
    """Compare the suggestions by the stored rules with those by *rules*; nothing is written.

    Args:
        user_id: the owner of the rules and of the transactions; for SHARED, those of all users.
        serving: the models and the traffic split: each user's arm decides.
        limit: the number of transactions, the newest ones.
    """
    of, rows = _newest(session, user_id, limit)
    requests = [SuggestionRequest(features_of(raw_transaction(row)), row["id"]) for row in rows]
    context = load_context(session, [it.row for it in requests])
    serving = serving._replace(shadow=False)
    before = suggestion_service.gather_evidence(requests, context, serving)
    matcher = rule_store.matcher_for(user_id, rules)
    matches = [  # by the user of the features, as in `gather_evidence`
        matcher.find(row) if user_id in (rule_store.SHARED, row.user_id) else None
        for row, _ in requests
    ]
    after = [
        _with_rule(item, user_id, None if index is None else rules[index], serving)
        for item, index in zip(before, matches, strict=True)
    ]
    users = suggestion_service.users_needing_profile([*before, *after])
    context = add_label_profiles(session, context, users)
    decisions = [
        result.decision
        for result in suggestion_service.suggest([*before, *after], context, serving)
    ]
    layer = "shared rule" if user_id == rule_store.SHARED else "own rule"
    pairs: Counter[tuple[str | None, str | None]] = Counter()
    decided: Counter[int] = Counter()
    against: Counter[int] = Counter()
    samples: defaultdict[int, list[Sample]] = defaultdict(list)
    for row, index, old, new in zip(
        rows, matches, decisions[: len(rows)], decisions[len(rows) :], strict=True
    ):
        if old.label != new.label:
            pairs[old.label, new.label] += 1
        if index is None or new.layer != layer:
            continue  # no rule matches, or a layer before it decides
        decided[index] += 1
        against[index] += row["label"] not in (None, rules[index].label)
        if len(samples[index]) < SAMPLES:
            name = row["merchant"] or row["description"] or ""
            about = row["id"], row["date"].isoformat(), name, float(row["amount"])
            samples[index].append(Sample(*about, row["label"], old.label, new.label))
    return Preview(
        looked_at=len(rows),
        of=of,
        changed=pairs.total(),
        changes=tuple(Change(*labels, count) for labels, count in pairs.most_common(PAIRS)),
        rules=tuple(
            Effect(rule.title, rule.label, decided[index], against[index], tuple(samples[index]))
            for index, rule in enumerate(rules)
        ),
    )


def _with_rule(
    item: GatheredEvidence, user_id: str, rule: Rule | None, serving: ServingContext
) -> GatheredEvidence:
    """The evidence with *rule* as the only rule of the set that matches."""
    match = None if rule is None else RuleMatch(rule.label, rule.title)
    if user_id == rule_store.SHARED:
        evidence = item.evidence._replace(shared_rule=match)
    else:
        evidence = item.evidence._replace(own_rule=match)
    label = decided_label(evidence, serving.thresholds_for(item.arm))
    return item._replace(evidence=evidence, rules_label=label)


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
