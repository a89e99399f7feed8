"""The statistics of each arm: how often its suggestions are accepted, and how much they help."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, text
from sqlalchemy.orm import Session

from shared.db.tables import Arm
from shared.experiments.ratio_intervals import NO_ROWS, Rate
from shared.experiments.traffic_split import TrafficSplit

DAYS = 28  # older suggestions are not evidence
ROWS = 500_000  # newest suggestions that are evidence
PAIRS = 50
MIN_USERS, MIN_ANSWERS = 30, 100  # in each arm, for a verdict

# Sums over users of what an interval needs. The window is the same for all arms.
_ARMS = text(
    """
    WITH newest AS (
        SELECT arm, user_id, label, answer, created_at FROM suggestions
        WHERE NOT forced AND created_at >= :since ORDER BY created_at DESC LIMIT :rows
    ), of_user AS (
        SELECT arm, count(*)::float8 AS n, count(label)::float8 AS shown,
            count(*) FILTER (WHERE label IS NOT NULL AND answer = 'accept')::float8 AS accepted,
            count(*) FILTER (WHERE label IS NOT NULL AND answer = 'correct')::float8 AS corrected,
            count(*) FILTER (WHERE label IS NOT NULL AND answer = 'reject')::float8 AS rejected,
            min(created_at) AS first
        FROM newest GROUP BY arm, user_id
    ), scored AS (
        SELECT *, accepted + corrected + rejected AS answered,
            (n + accepted - corrected - rejected) / 2 AS gained
        FROM of_user
    )
    SELECT arm, count(*) AS users, sum(n) AS n, sum(shown) AS shown, sum(accepted) AS accepted,
        sum(corrected) AS corrected, sum(rejected) AS rejected, min(first) AS first,
        count(*) FILTER (WHERE answered > 0) AS answering, sum(answered) AS answered,
        sum(answered * answered) AS answered_answered,
        sum(answered * accepted) AS answered_accepted,
        sum(accepted * accepted) AS accepted_accepted,
        sum(n * n) AS n_n, sum(gained) AS gained, sum(n * gained) AS n_gained,
        sum(gained * gained) AS gained_gained
    FROM scored GROUP BY arm
    """
)

_PAIRS = text(
    """
    WITH newest AS (
        SELECT user_id, rules_label, model_label,
            CASE WHEN answer IN ('accept', 'correct') THEN answer_label END AS truth
        FROM suggestions WHERE rules_label <> model_label AND created_at >= :since
        ORDER BY created_at DESC LIMIT :rows
    )
    SELECT rules_label, model_label, count(*), count(truth),
        count(*) FILTER (WHERE truth = rules_label), count(*) FILTER (WHERE truth = model_label),
        sum(count(*)) OVER (),
        count(DISTINCT user_id) >= :min_users
            OR NOT EXISTS (SELECT FROM newest WHERE user_id <> '') AS is_shown
    FROM newest GROUP BY 1, 2 ORDER BY is_shown DESC, 3 DESC, 1, 2 LIMIT :pairs
    """
).bindparams(bindparam("pairs", PAIRS))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStatistics:
    """The answers to the suggestions of an arm, without those whose arm a caller forced."""

    users: int = 0
    suggestions: int = 0
    shown: int = 0  # with a label; the others asked
    accepted: int = 0
    corrected: int = 0
    rejected: int = 0
    first: dt.datetime | None = None  # when the oldest suggestion was made
    acceptance: Rate = NO_ROWS  # accepted, of the answered labels
    gain: Rate = NO_ROWS  # of all suggestions: 1/2 each, 1 if accepted, 0 if corrected or rejected

    @property
    def answered(self) -> int:
        return self.accepted + self.corrected + self.rejected

    @property
    def missing(self) -> str:
        """The data that a verdict still needs of this arm, in words; '' if none."""
        users, answers = self.acceptance.users, self.answered
        parts = []
        if users < MIN_USERS:
            parts.append(f"answers of {MIN_USERS - users} more users")
        if answers < MIN_ANSWERS:
            parts.append(f"{MIN_ANSWERS - answers} more answers")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two labels that rules and model gave to the same transactions, and which was right."""

    rules_label: str
    model_label: str
    count: int
    answered: int  # by a person, with a category
    rules_right: int
    model_right: int


def load_statistics(session: Session, since: dt.datetime) -> Mapping[Arm, ArmStatistics]:
    """Load the statistics of each arm since then, of the newest ROWS suggestions at most."""
    arms = dict.fromkeys(Arm, ArmStatistics())
    for row in session.execute(_ARMS, {"since": since, "rows": ROWS}):
        arms[Arm(row.arm)] = ArmStatistics(
            users=row.users,
            suggestions=int(row.n),
            shown=int(row.shown),
            accepted=int(row.accepted),
            corrected=int(row.corrected),
            rejected=int(row.rejected),
            first=row.first,
            acceptance=Rate(row.answering, *_sums(row, "answered", "accepted")),
            gain=Rate(row.users, *_sums(row, "n", "gained")),
        )
    return arms


def _sums(row: Row[Any], x: str, y: str) -> tuple[float, ...]:
    return tuple(getattr(row, name) for name in (x, y, f"{x}_{x}", f"{x}_{y}", f"{y}_{y}"))


def evidence_start(split: TrafficSplit) -> dt.datetime:
    """When the evidence begins: at the last change of the split, at most DAYS ago."""
    oldest = dt.datetime.now(dt.UTC) - dt.timedelta(days=DAYS)
    return max(split.since, oldest) if split.since else oldest


def load_disagreements(session: Session, days: int, min_users: int) -> tuple[int, list[Pair]]:
    """Count the disagreements of rules and model in the last *days*; list the commonest pairs.

    Of the newest ROWS of such suggestions at most. A pair is listed if *min_users* have it, or
    where there are no users.
    """
    query = {"since": dt.datetime.now(dt.UTC) - dt.timedelta(days=days), "rows": ROWS}
    rows = session.execute(_PAIRS, {**query, "min_users": min_users}).all()
    pairs = [Pair(*row[:-2]) for row in rows if row.is_shown]
    return (int(rows[0][-2]) if rows else 0), pairs
