"""What PostgreSQL knows of some users and merchants, for the layers to speak from.

Any number of transactions, of any users, costs one statement, another one where habits are needed,
and one more if rules have changed. Without PostgreSQL nothing is known, and the model and the
starter rules answer alone.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from shared.experiments.traffic_split import TrafficSplit
from shared.features.extract import RawTransaction, features_of
from shared.model.thresholds import RECENT
from shared.rules import store as rule_store
from shared.rules.matcher import RuleMatcher
from shared.suggestions.cold_start import LabelProfile
from shared.suggestions.decision import Prior
from shared.suggestions.merchant_history import LabelCount, MerchantHistory

LOOKED_AT = 2_000  # newest transactions of a merchant, or user, that are searched for labels
PROFILE_ROWS = 100  # labelled transactions of a user that his habits are read from, of LOOKED_AT

_READ = ("line", "merchant", "norm_desc", "mcc", "amount", "currency", "channel")  # by a guess
_BLANK = features_of(RawTransaction())

Merchants = Sequence[tuple[str, str]]  # user ('': none is known) and cleaned merchant

_MEMORY = f"""
    SELECT wanted.user_id, wanted.merchant, told.label, count(*), max(told.date),
        bool_or(CASE WHEN told.newest THEN EXISTS (
            SELECT FROM suggestions JOIN suggestion_answers AS answer
                ON answer.suggestion_id = suggestions.id
            WHERE suggestions.txn_id = told.txn_id AND answer.action = 'correct'
                AND answer.undone_at IS NULL AND answer.label = told.label
        ) END)
    FROM unnest(:users, :merchants) AS wanted(user_id, merchant)
    CROSS JOIN LATERAL (
        SELECT near.txn_id, near.date, label.label,
            row_number() OVER (ORDER BY label.updated_at DESC, label.txn_id DESC) = 1 AS newest
        FROM (
            SELECT f.txn_id, f.date FROM ml_features AS f
            WHERE f.user_id = wanted.user_id AND f.merchant = wanted.merchant
            ORDER BY f.date DESC LIMIT {LOOKED_AT}
        ) AS near
        JOIN transaction_labels AS label ON label.txn_id = near.txn_id AND label.source <> 'rule'
        ORDER BY near.date DESC, near.txn_id DESC LIMIT {RECENT}
    ) AS told
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 5 DESC
"""  # noqa: S608  our own numbers

_REJECTED = """
    SELECT DISTINCT user_id, merchant, label FROM suggestion_answers AS said
    WHERE (user_id, merchant) IN (SELECT * FROM unnest(:users, :merchants))
        AND action = 'reject' AND undone_at IS NULL AND label IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM suggestion_answers AS later
            WHERE later.user_id = said.user_id AND later.merchant = said.merchant
                AND later.label = said.label AND later.action <> 'reject'
                AND later.undone_at IS NULL AND later.id > said.id
        )
"""

_PRIORS = """
    SELECT merchant, label, users, of_users FROM merchant_priors
    WHERE merchant = ANY(:merchants) ORDER BY users, label
"""

# By the index of a user's transactions, the newest first; without a user they are nobody's.
_NEWEST = (
    f"SELECT id, date FROM transactions WHERE {{}} ORDER BY date DESC, id DESC LIMIT {LOOKED_AT}"  # noqa: S608
)
_HABITS = f"""
    SELECT own.* FROM unnest(:users) AS wanted(user_id)
    CROSS JOIN LATERAL (
        SELECT json_build_array(
            wanted.user_id, l.label, {", ".join(f"f.{name}" for name in _READ)}
        ) AS told
        FROM (
            ({_NEWEST.format("user_id = wanted.user_id")})
            UNION ALL ({_NEWEST.format("wanted.user_id = '' AND user_id IS NULL")})
        ) AS newest
        JOIN transaction_labels AS l ON l.txn_id = newest.id AND l.source <> 'rule'
        JOIN ml_features AS f ON f.txn_id = newest.id
        ORDER BY newest.date DESC, newest.id DESC LIMIT {PROFILE_ROWS}
    ) AS own
"""  # noqa: S608

_RULE_SETS = """
    SELECT DISTINCT ON (user_id) user_id, version, updated_at FROM rule_sets
    WHERE user_id = ANY(:everyone) ORDER BY user_id, version DESC
"""

_ROLLOUT = """
    SELECT canary, challenger, trial, id AS change, at AS since, action, by, why
    FROM rollout_changes ORDER BY id DESC LIMIT 1
"""

_PARTS = {
    "memory": _MEMORY,
    "rejected": _REJECTED,
    "priors": _PRIORS,
    "rule_sets": _RULE_SETS,
    "rollout": _ROLLOUT,
}
# As one statement: each way to the server and back costs more than most of what it asks for. A row
# of a part comes as a JSON object with its columns in their order.
_AS_JSON = "(SELECT coalesce(json_agg(it), '[]') FROM ({}) AS it) AS {}"
_ALL = (
    text("SELECT " + ", ".join(_AS_JSON.format(part, name) for name, part in _PARTS.items()))
    .bindparams(*(bindparam(it, type_=ARRAY(Text)) for it in ("users", "merchants", "everyone")))
    .columns(**dict.fromkeys(_PARTS, JSON()))
)
_HABITS_OF = text(_HABITS).bindparams(bindparam("users", type_=ARRAY(Text))).columns(told=JSON())


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestionContext:
    """What PostgreSQL says of the users and merchants asked about."""

    histories: Mapping[tuple[str, str], MerchantHistory]
    rejected: Mapping[tuple[str, str], frozenset[str]]
    priors: Mapping[str, Prior]
    profiles: Mapping[str, LabelProfile]  # by user
    matchers: Mapping[str, RuleMatcher]  # by user, and everyone's
    rollout: TrafficSplit | None = (
        None  # the newest change; None: the environment says who is where
    )


EMPTY_CONTEXT = SuggestionContext(histories={}, rejected={}, priors={}, profiles={}, matchers={})


def load_context(session: Session, merchants: Merchants) -> SuggestionContext:
    """All that is known of these merchants to these users, and of the users."""
    said = load_context_without_profiles(session, merchants)
    return add_label_profiles(session, said, {user for user, _ in merchants})


def load_context_without_profiles(session: Session, merchants: Merchants) -> SuggestionContext:
    """The same without label profiles, which take the longest and are seldom needed.

    See `suggester.users_needing_profile`.
    """
    wanted = sorted({(user, merchant) for user, merchant in merchants if merchant})
    memory, rejected, priors, sets, changes = session.execute(
        _ALL,
        {
            "users": [user for user, _ in wanted],
            "merchants": [merchant for _, merchant in wanted],
            "everyone": sorted({rule_store.SHARED, *(user for user, _ in merchants)}),
        },
    ).one()
    return SuggestionContext(
        histories=_memories(memory),
        rejected=_rejected(rejected),
        priors={it["merchant"]: Prior(it["label"], it["users"], it["of_users"]) for it in priors},
        profiles={},
        matchers=rule_store.load_matchers(session, [tuple(it.values()) for it in sets]),
        rollout=_rollout(*changes),
    )


def add_label_profiles(
    session: Session, said: SuggestionContext, users: Collection[str]
) -> SuggestionContext:
    """*said*, and what the labels of these users tell of their habits."""
    if not users:
        return said
    own: defaultdict[str, LabelProfile] = defaultdict(LabelProfile)
    for user, label, *told in session.scalars(_HABITS_OF, {"users": sorted(users)}):
        own[user].learn(_BLANK._replace(**dict(zip(_READ, told, strict=True))), label)
    return replace(said, profiles=own)


def _memories(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], MerchantHistory]:
    told: defaultdict[tuple[str, str], dict[str, LabelCount]] = defaultdict(dict)
    corrected: dict[tuple[str, str], str] = {}
    for row in rows:
        user, merchant, label, times, last, is_correction = row.values()
        told[user, merchant][label] = LabelCount(times, dt.date.fromisoformat(last))
        if is_correction:
            corrected[user, merchant] = label
    return {key: MerchantHistory(labels, corrected.get(key)) for key, labels in told.items()}


def _rejected(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], frozenset[str]]:
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        found[row["user_id"], row["merchant"]].add(row["label"])
    return {key: frozenset(labels) for key, labels in found.items()}


def _rollout(newest: Mapping[str, Any] | None = None) -> TrafficSplit | None:
    if newest is None:
        return None
    return TrafficSplit(**{**newest, "since": dt.datetime.fromisoformat(newest["since"])})
