"""What people answered to the suggestions of each arm, in sums and rates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from shared.db.tables import Arm
from shared.experiments.ratio_intervals import Rate
from shared.experiments.traffic_split import TrafficSplit

DAYS = 28  # older suggestions are no evidence
ROWS = 500_000  # nor are more than the newest so many
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
        SELECT rules_label, model_label,
            CASE WHEN answer IN ('accept', 'correct') THEN answer_label END AS truth
        FROM suggestions WHERE rules_label <> model_label AND created_at >= :since
        ORDER BY created_at DESC LIMIT :rows
    )
    SELECT rules_label, model_label, count(*), count(truth),
        count(*) FILTER (WHERE truth = rules_label), count(*) FILTER (WHERE truth = model_label),
        sum(count(*)) OVER ()
    FROM newest GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT :pairs
    """
).bindparams(bindparam("pairs", PAIRS))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStatistics:
    """What became of the suggestions of an arm; those that a caller forced are left out."""

    users: int
    suggestions: int
    shown: int  # with a label; the others asked
    accepted: int
    corrected: int
    rejected: int
    first: dt.datetime | None  # when the oldest of them was made
    acceptance: Rate  # accepted, of the labels that were answered
    gain: Rate  # of all suggestions, a half each, a half more if accepted, less if wrong

    @property
    def answered(self) -> int:
        return self.accepted + self.corrected + self.rejected

    @property
    def missing(self) -> str:
        """What a verdict still needs of this arm; '' if nothing."""
        users, answers = self.acceptance.users, self.answered
        parts = []
        if users < MIN_USERS:
            parts.append(f"answers of {MIN_USERS - users} more users")
        if answers < MIN_ANSWERS:
            parts.append(f"{MIN_ANSWERS - answers} more answers")
        return " and ".join(parts)


_NO_ROWS = Rate(0, 0.0, 0.0, 0.0, 0.0, 0.0)
NO_ANSWERS = ArmStatistics(
    users=0,
    suggestions=0,
    shown=0,
    accepted=0,
    corrected=0,
    rejected=0,
    first=None,
    acceptance=_NO_ROWS,
    gain=_NO_ROWS,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two labels that rules and model gave to the same transaction, and who was right."""

    rules_label: str
    model_label: str
    count: int
    answered: int  # the person said which category it is
    rules_right: int
    model_right: int


def load_statistics(session: Session, since: dt.datetime) -> Mapping[Arm, ArmStatistics]:
    """What each arm has to show since then, from the newest ROWS suggestions at most."""
    found = dict.fromkeys(Arm, NO_ANSWERS)
    for row in session.execute(_ARMS, {"since": since, "rows": ROWS}):
        found[Arm(row.arm)] = ArmStatistics(
            users=row.users,
            suggestions=int(row.n),
            shown=int(row.shown),
            accepted=int(row.accepted),
            corrected=int(row.corrected),
            rejected=int(row.rejected),
            first=row.first,
            acceptance=Rate(
                row.answering,
                row.answered,
                row.accepted,
                row.answered_answered,
                row.answered_accepted,
                row.accepted_accepted,
            ),
            gain=Rate(row.users, row.n, row.gained, row.n_n, row.n_gained, row.gained_gained),
        )
    return found


def evidence_start(rollout: TrafficSplit) -> dt.datetime:
    """From when on suggestions are evidence: since users last changed arms, and DAYS at most."""
    oldest = dt.datetime.now(dt.UTC) - dt.timedelta(days=DAYS)
    return max(rollout.since, oldest) if rollout.since else oldest


def load_disagreements(session: Session, days: int) -> tuple[int, list[Pair]]:
    """How often rules and model gave different labels in so many days, and the commonest pairs.

    Of the newest ROWS of such suggestions at most.
    """
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    rows = session.execute(_PAIRS, {"since": since, "rows": ROWS}).all()
    return (int(rows[0][-1]) if rows else 0), [Pair(*row[:-1]) for row in rows]
