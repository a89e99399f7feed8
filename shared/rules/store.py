"""The rules of each user, and everyone's, as PostgreSQL keeps them: every version of every set.

A set is changed as a whole; the newest version counts, and none is ever lost.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
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

SHARED = ""  # whose rules are for all users
PROPOSED_FROM = 3  # equal corrections of a merchant, the newest ones, propose a rule
_KEPT = 200  # compiled books in a process


class RuleSetVersion(NamedTuple):
    """One version of a set; version 0 is the empty set before the first."""

    user_id: str
    version: int
    rules: tuple[Rule, ...]
    updated_by: str
    updated_at: dt.datetime | None


def read(session: Session, user_id: str, version: int | None = None) -> RuleSetVersion:
    """The newest version of a user's rules, or a certain one.

    Raises:
        NotFound: there is no such version.
    """
    wanted = select(RuleSet).where(RuleSet.user_id == user_id)
    if version is not None:
        wanted = wanted.where(RuleSet.version == version)
    found = session.scalars(wanted.order_by(RuleSet.version.desc()).limit(1)).one_or_none()
    if found is None:
        if version:
            raise NotFound(f"There is no version {version} of these rules")
        return RuleSetVersion(user_id, 0, (), "", None)
    rules = tuple(parse(found.rules))
    return RuleSetVersion(user_id, found.version, rules, found.updated_by, found.updated_at)


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
    added = insert(RuleSet).values(
        user_id=user_id, version=now.version + 1, rules=to_json(rules), updated_by=by
    )
    written = session.scalar(added.on_conflict_do_nothing().returning(RuleSet.updated_at))
    if written is None:
        raise Conflict("The rules were changed by somebody else just now: read them anew")
    return RuleSetVersion(user_id, now.version + 1, tuple(rules), by, written)


# User, version, and its time as text: a restored database gives versions anew.
Key = tuple[str, int, str]


class _MatcherCache:
    """Compiled sets by user, version and time, the latest used ones."""

    def __init__(self) -> None:
        self._held: OrderedDict[Key, RuleMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> RuleMatcher | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Key, book: RuleMatcher) -> None:
        with self._lock:
            self._held[key] = book
            if len(self._held) > _KEPT:
                self._held.popitem(last=False)


_books = _MatcherCache()


def matcher_for(user_id: str, rules: Sequence[Rule]) -> RuleMatcher:
    """Rules ready to be asked, whose reasons say whose they are."""
    return RuleMatcher(tuple(rules), "shared rule" if user_id == SHARED else "your rule")


def load_matchers(session: Session, newest: Iterable[Key]) -> dict[str, RuleMatcher]:
    """The rules of those sets, by user; a query only for those that this process has not read."""
    keys = [*newest]
    found = {key[0]: book for key in keys if (book := _books.get(key)) is not None}
    missing = {key[:2]: key for key in keys if key[0] not in found}
    if missing:
        wanted = tuple_(RuleSet.user_id, RuleSet.version).in_(missing)
        for kept in session.scalars(select(RuleSet).where(wanted)):
            book = found[kept.user_id] = matcher_for(kept.user_id, parse(kept.rules))
            _books.put(missing[kept.user_id, kept.version], book)
    return found


class RuleProposal(NamedTuple):
    """A rule that a user's corrections ask for."""

    rule: Rule
    corrections: int
    last: dt.datetime


_CORRECTED = text(
    """
    WITH said AS (
        SELECT DISTINCT ON (s.txn_id) s.txn_id, a.merchant, a.label, a.created_at, a.id
        FROM suggestion_answers AS a JOIN suggestions AS s ON s.id = a.suggestion_id
        WHERE a.user_id = :user_id AND a.action = 'correct' AND a.undone_at IS NULL
            AND a.merchant <> ''
        ORDER BY s.txn_id, a.id DESC
    ), ranked AS (
        SELECT said.*, row_number() OVER (PARTITION BY merchant ORDER BY id DESC) AS nth
        FROM said JOIN transaction_labels AS now USING (txn_id, label)
    )
    SELECT merchant, min(label) FILTER (WHERE nth <= :times), count(*), max(created_at)
    FROM ranked GROUP BY merchant
    HAVING count(*) >= :times AND count(DISTINCT label) FILTER (WHERE nth <= :times) = 1
    ORDER BY max(created_at) DESC LIMIT 100
    """
)


def propose_rules(session: Session, user_id: str) -> list[RuleProposal]:
    """A rule for each merchant that the user corrected to the same category again and again.

    None for a merchant that one of his rules is about, even a disabled one: that is his answer.
    """
    about = RuleMatcher(
        tuple(
            Rule(label=rule.label, merchant=rule.merchant)
            for rule in read(session, user_id).rules
            if rule.merchant
        )
    )
    asked = session.execute(_CORRECTED, {"user_id": user_id, "times": PROPOSED_FROM})
    return [
        RuleProposal(Rule(label=label, merchant=merchant[:PATTERN_MAX]), times, last)
        for merchant, label, times, last in asked
        if about.find(features_of(RawTransaction(merchant=merchant))) is None
    ]
