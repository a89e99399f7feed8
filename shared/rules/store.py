"""Rule sets in PostgreSQL, versioned: one per user, and the shared one.

A set is replaced as a whole; the newest version counts, and all are stored.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.db.tables import RuleSet
from shared.errors import Conflict, NotFound
from shared.features.extract import RawTransaction, features_of
from shared.rules.matcher import RuleMatcher
from shared.rules.schema import PATTERN_MAX, Rule, parse, to_json
from shared.text.collectors import is_collector

SHARED = ""  # the user_id of the rules for all users
PROPOSED_FROM = 3  # newest corrections of a merchant that must be equal to propose a rule
_CACHE_SIZE = 200  # compiled rule sets of a process


class RuleSetVersion(NamedTuple):
    """One version of a set; version 0 is the empty set before the first."""

    user_id: str
    version: int
    rules: tuple[Rule, ...]
    updated_by: str
    updated_at: dt.datetime | None


def read(session: Session, user_id: str, version: int | None = None) -> RuleSetVersion:
    """Read the newest version of a user's rules, or a given one.

    Raises:
        NotFound: there is no such version.
    """
    query = select(RuleSet).where(RuleSet.user_id == user_id)
    if version is not None:
        query = query.where(RuleSet.version == version)
    row = session.scalars(query.order_by(RuleSet.version.desc()).limit(1)).one_or_none()
    if row is None:
        if version:
            raise NotFound(f"There is no version {version} of these rules")
        return RuleSetVersion(user_id, 0, (), "", None)
    return RuleSetVersion(
        user_id, row.version, tuple(parse(row.rules)), row.updated_by, row.updated_at
    )


def save(
    session: Session, user_id: str, rules: Sequence[Rule], *, by: str, expected: int | None = None
) -> RuleSetVersion:
    """Make *rules* the newest version; the same rules again change nothing.

    Args:
        expected: the version that they were made from.

    Raises:
        Conflict: another version is the newest one.
    """
    now = read(session, user_id)
    if expected is not None and expected != now.version:
        raise Conflict(f"The rules are at version {now.version}, not {expected}: read them anew")
    if tuple(rules) == now.rules and now.version:
        return now
    new = insert(RuleSet).values(
        user_id=user_id, version=now.version + 1, rules=to_json(rules), updated_by=by
    )
    updated_at = session.scalar(new.on_conflict_do_nothing().returning(RuleSet.updated_at))
    if updated_at is None:
        raise Conflict("The rules were changed by somebody else just now: read them anew")
    return RuleSetVersion(user_id, now.version + 1, tuple(rules), by, updated_at)


# User, version, and its time as text: a restored database gives the same version numbers anew.
Key = tuple[str, int, str]
_matchers: dict[Key, RuleMatcher] = {}  # the one used last is at the end
_lock = threading.Lock()


def matcher_for(user_id: str, rules: Sequence[Rule]) -> RuleMatcher:
    """Compile a user's rules, or the shared ones; their reasons say whose they are."""
    return RuleMatcher(tuple(rules), "shared rule" if user_id == SHARED else "your rule")


def load_matchers(session: Session, newest: Iterable[Key]) -> dict[str, RuleMatcher]:
    """Load the matchers of these rule sets, by user; queries only those not in the cache."""
    keys = {key[:2]: key for key in newest}
    with _lock:
        matchers = {key: _matchers.pop(key) for key in keys.values() if key in _matchers}
        _matchers.update(matchers)
    missing = [short for short, key in keys.items() if key not in matchers]
    if missing:
        is_missing = tuple_(RuleSet.user_id, RuleSet.version).in_(missing)
        for row in session.scalars(select(RuleSet).where(is_missing)):
            key = keys[row.user_id, row.version]
            matchers[key] = matcher_for(row.user_id, parse(row.rules))
        with _lock:
            _matchers.update(matchers)
            for key in list(_matchers)[:-_CACHE_SIZE]:
                del _matchers[key]
    return {key[0]: matcher for key, matcher in matchers.items()}


class RuleProposal(NamedTuple):
    """A rule that follows from a user's corrections."""

    rule: Rule
    corrections: int
    last: dt.datetime


_CORRECTED = text(
    """
    WITH corrected AS (
        SELECT DISTINCT ON (s.txn_id) s.txn_id, a.merchant, a.label, a.created_at, a.id
        FROM suggestion_answers AS a JOIN suggestions AS s ON s.id = a.suggestion_id
        WHERE a.user_id = :user_id AND a.action = 'correct' AND a.undone_at IS NULL
            AND a.merchant <> ''
        ORDER BY s.txn_id, a.id DESC
    ), ranked AS (
        SELECT corrected.*, row_number() OVER (PARTITION BY merchant ORDER BY id DESC) AS nth
        FROM corrected JOIN transaction_labels AS now USING (txn_id, label)
    )
    SELECT merchant, min(label) FILTER (WHERE nth <= :times), count(*), max(created_at)
    FROM ranked GROUP BY merchant
    HAVING count(*) >= :times AND count(DISTINCT label) FILTER (WHERE nth <= :times) = 1
    ORDER BY max(created_at) DESC LIMIT 100
    """
)


def propose_rules(session: Session, user_id: str) -> list[RuleProposal]:
    """Propose a rule for each merchant that the user corrected to the same category each time.

    None for a merchant that one of their rules names, even a disabled one, and none for payment
    services, behind which are many shops.
    """
    existing = RuleMatcher(
        tuple(
            Rule(label=rule.label, merchant=rule.merchant)
            for rule in read(session, user_id).rules
            if rule.merchant
        )
    )
    rows = session.execute(_CORRECTED, {"user_id": user_id, "times": PROPOSED_FROM})
    return [
        RuleProposal(Rule(label=label, merchant=merchant[:PATTERN_MAX]), times, last)
        for merchant, label, times, last in rows
        if not is_collector(merchant)
        and existing.find(features_of(RawTransaction(merchant=merchant))) is None
    ]
