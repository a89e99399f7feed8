"""The context of a suggestion: what the database holds about its users and merchants.

One statement, whatever the number of transactions and users; one more for label profiles, and one
for rules that this process has not read. Without PostgreSQL the context is empty, and only the
model and the cold start answer.
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
from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.thresholds import RECENT
from shared.rules import store as rule_store
from shared.rules.matcher import RuleMatcher
from shared.suggestions.cold_start import LabelProfile
from shared.suggestions.decision import Prior
from shared.suggestions.merchant_history import PastLabel, Rejection

LABEL_SEARCH_ROWS = 2_000  # newest transactions of a merchant, or user, searched for labels
PROFILE_ROWS = 100  # labelled ones of those that make a user's label profile

_PROFILE_FEATURES = ("line", "merchant", "norm_desc", "mcc", "amount", "currency", "channel")
_BLANK = features_of(RawTransaction())

# By the index of a user's transactions, the newest first. Without a user they are nobody's.
_NEWEST = (
    "SELECT id, date FROM transactions "  # noqa: S608
    f"WHERE {{}} ORDER BY date DESC, id DESC LIMIT {LABEL_SEARCH_ROWS}"
)
_PROFILES = f"""
    SELECT labelled.* FROM unnest(:users) AS one(user_id)
    CROSS JOIN LATERAL (
        SELECT json_build_array(
            one.user_id, l.label, {", ".join(f"f.{name}" for name in _PROFILE_FEATURES)}
        ) AS fields
        FROM (
            ({_NEWEST.format("user_id = one.user_id")})
            UNION ALL ({_NEWEST.format("one.user_id = '' AND user_id IS NULL")})
        ) AS newest
        JOIN transaction_labels AS l ON l.txn_id = newest.id AND l.source <> 'rule'
        JOIN ml_features AS f ON f.txn_id = newest.id
        ORDER BY newest.date DESC, newest.id DESC LIMIT {PROFILE_ROWS}
    ) AS labelled
"""  # noqa: S608
_PROFILES_OF = text(_PROFILES).bindparams(bindparam("users", type_=ARRAY(Text)))

# The label given last comes first; of those given in one statement, that of the newest transaction.
_AGE = "given.updated_at DESC, given.date DESC, given.txn_id DESC"
_QUERIES = {
    "histories": f"""
    SELECT past.user_id, past.merchant, past.text, past.label, count(*) AS rows,
        count(DISTINCT coalesce(nullif(past.norm_desc, ''), past.txn_id::text)) AS texts,
        max(past.date) AS last, min(past.age) AS age,
        bool_or(CASE WHEN 1 IN (past.age, past.age_in_text) THEN EXISTS (
            SELECT FROM suggestions JOIN suggestion_answers AS answer
                ON answer.suggestion_id = suggestions.id
            WHERE suggestions.txn_id = past.txn_id AND suggestions.label <> past.label
                AND answer.action = 'correct'
                AND answer.undone_at IS NULL AND answer.label = past.label
        ) END) AS corrected
    FROM (
        SELECT pair.user_id, pair.merchant, given.*,
            row_number() OVER (PARTITION BY pair.user_id, pair.merchant ORDER BY {_AGE}) AS age,
            row_number() OVER (
                PARTITION BY pair.user_id, pair.merchant, given.text ORDER BY {_AGE}
            ) AS age_in_text
        FROM unnest(:users, :merchants) AS pair(user_id, merchant)
        CROSS JOIN LATERAL (
            SELECT near.*, label.label, label.updated_at,
                CASE WHEN near.norm_desc = ANY(:texts) THEN near.norm_desc END AS text
            FROM (
                SELECT f.txn_id, f.date, f.norm_desc FROM ml_features AS f
                WHERE f.user_id = pair.user_id AND f.merchant = pair.merchant
                ORDER BY f.date DESC LIMIT {LABEL_SEARCH_ROWS}
            ) AS near
            JOIN transaction_labels AS label
                ON label.txn_id = near.txn_id AND label.source <> 'rule'
            ORDER BY near.date DESC, near.txn_id DESC LIMIT {RECENT}
        ) AS given
    ) AS past
    GROUP BY 1, 2, 3, 4
""",  # noqa: S608  constants of our own
    "rejected": """
    SELECT DISTINCT rejection.user_id, rejection.merchant, f.norm_desc, rejection.label
    FROM suggestion_answers AS rejection
    JOIN suggestions ON suggestions.id = rejection.suggestion_id
    LEFT JOIN ml_features AS f ON f.txn_id = suggestions.txn_id
    WHERE (rejection.user_id, rejection.merchant) IN (SELECT * FROM unnest(:users, :merchants))
        AND action = 'reject' AND undone_at IS NULL AND rejection.label IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM suggestion_answers AS later
            WHERE later.user_id = rejection.user_id AND later.merchant = rejection.merchant
                AND later.label = rejection.label AND later.action <> 'reject'
                AND later.undone_at IS NULL AND later.id > rejection.id
        )
""",
    "priors": """
    SELECT merchant, label, users, of_users FROM merchant_priors
    WHERE merchant = ANY(:merchants) ORDER BY users, label
""",
    "rule_sets": """
    SELECT DISTINCT ON (user_id) user_id, version, updated_at FROM rule_sets
    WHERE user_id = ANY(:owners) ORDER BY user_id, version DESC
""",
    "rollout": """
    SELECT canary, challenger, trial, id AS change, at AS since, action, by, why
    FROM rollout_changes ORDER BY id DESC LIMIT 1
""",
}
# As one statement, since a round trip costs more than most of these queries. Each row of a query
# comes as a JSON object with its columns in order.
_AS_JSON = "(SELECT coalesce(json_agg(part), '[]') FROM ({}) AS part) AS {}"
_ALL = (
    text("SELECT " + ", ".join(_AS_JSON.format(query, name) for name, query in _QUERIES.items()))
    .bindparams(
        *(bindparam(it, type_=ARRAY(Text)) for it in ("users", "merchants", "texts", "owners"))
    )
    .columns(**dict.fromkeys(_QUERIES, JSON()))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestionContext:
    """Past labels and rejections by user and merchant, priors by merchant, the rest by user."""

    past_labels: Mapping[tuple[str, str], Sequence[PastLabel]]
    rejections: Mapping[tuple[str, str], Sequence[Rejection]]
    priors: Mapping[str, Prior]
    profiles: Mapping[str, LabelProfile]
    matchers: Mapping[str, RuleMatcher]  # those of shared rules, too
    rollout: TrafficSplit | None = None  # None: nobody changed what the settings say


EMPTY_CONTEXT = SuggestionContext(
    past_labels={}, rejections={}, priors={}, profiles={}, matchers={}
)


def load_context(session: Session, rows: Sequence[FeatureRow]) -> SuggestionContext:
    """All that *rows* need but the label profiles, which take the longest and are seldom needed."""
    pairs = sorted({(row.user_id, row.merchant) for row in rows if row.merchant})
    histories, rejected, priors, rule_sets, changes = session.execute(
        _ALL,
        {
            "users": [user for user, _ in pairs],
            "merchants": [merchant for _, merchant in pairs],
            "texts": sorted({row.norm_desc for row in rows if row.norm_desc}),
            "owners": sorted({rule_store.SHARED, *(row.user_id for row in rows)}),
        },
    ).one()
    return SuggestionContext(
        past_labels=_past_labels(histories),
        rejections=_rejections(rejected),
        priors={merchant: Prior(*prior) for merchant, *prior in (row.values() for row in priors)},
        profiles={},
        matchers=rule_store.load_matchers(session, [tuple(row.values()) for row in rule_sets]),
        rollout=_rollout(changes[0]) if changes else None,
    )


def add_label_profiles(
    session: Session, context: SuggestionContext, users: Collection[str]
) -> SuggestionContext:
    """*context* with the label profiles of these users."""
    if not users:
        return context
    profiles: defaultdict[str, LabelProfile] = defaultdict(LabelProfile)
    for user, label, *values in session.scalars(_PROFILES_OF, {"users": sorted(users)}):
        features = dict(zip(_PROFILE_FEATURES, values, strict=True))
        profiles[user].learn(_BLANK._replace(**features), label)
    return replace(context, profiles=profiles)


def _past_labels(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[PastLabel]]:
    found: defaultdict[tuple[str, str], list[PastLabel]] = defaultdict(list)
    for row in rows:
        user, merchant, text_, label, times, texts, last, age, corrected = row.values()
        found[user, merchant].append(
            PastLabel(text_, label, times, texts, dt.date.fromisoformat(last), age, bool(corrected))
        )
    return found


def _rejections(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Rejection]]:
    found: defaultdict[tuple[str, str], list[Rejection]] = defaultdict(list)
    for user, merchant, *rejection in (row.values() for row in rows):
        found[user, merchant].append(Rejection(*rejection))
    return found


def _rollout(change: Mapping[str, Any]) -> TrafficSplit:
    return TrafficSplit(**{**change, "since": dt.datetime.fromisoformat(change["since"])})
