"""The traffic split: which users are in which arm.

A keyed hash of the user's name decides, so the arm is the same in every process, and a larger share
includes the users of a smaller one. The shares are in PostgreSQL, a row for each change; until the
first change the environment gives them. See docs/canary.md.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from shared.db import locks
from shared.db.tables import Arm, RolloutChange
from shared.errors import Conflict
from shared.settings import Settings

Kind = Literal["canary", "trial", "promote", "drop", "guardrail"]
_STEPS = 1 << 53  # the resolution of a float from 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit:
    """The shares of users in each arm, and the change that set them.

    Attributes:
        change: id of the newest change; 0 while the environment's value counts.
        canary: share of the users without a trial who are in the model arm, 0..1.
        challenger: run_id of the version on trial.
        trial: share of all users who are in its arm, 0..1.
        since: when this began; None while the environment's value counts.
        action, by, why: of the newest change; empty without one.
    """

    canary: float
    challenger: str | None = None
    trial: float = 0.0
    change: int = 0
    since: dt.datetime | None = None
    action: str = ""
    by: str = ""
    why: str = ""

    def without_trial(self) -> TrafficSplit:
        """The split without a challenger arm; used while its version is not loaded."""
        return replace(self, challenger=None, trial=0.0)


def assign_arm(user_id: str, split: TrafficSplit, salt: str) -> Arm:
    """Assign a user to an arm; '' (unknown) is one user like any other.

    A trial takes its share of all users, drawn anew for each version; the canary takes its share of
    the others. So the users of each arm are a random sample.
    """
    if split.challenger and _bucket(user_id, f"trial {split.challenger}", salt) < split.trial:
        return Arm.CHALLENGER
    return Arm.MODEL if _bucket(user_id, "canary", salt) < split.canary else Arm.RULES


def current(session: Session, settings: Settings) -> TrafficSplit:
    """Load the split that is valid now: the newest change, or the environment's."""
    return next(iter(history(session, 1)), TrafficSplit(canary=settings.suggest_canary))


def history(session: Session, limit: int = 50) -> list[TrafficSplit]:
    """Load the newest changes, newest first."""
    rows = select(RolloutChange).order_by(RolloutChange.id.desc()).limit(limit)
    return [_from_row(row) for row in session.scalars(rows)]


def lock(session: Session) -> None:
    """Keep other changes out until this transaction ends; within one transaction, repeatable."""
    session.execute(text(f"SELECT pg_advisory_xact_lock({locks.TRAFFIC_SPLIT})"))


def set_canary(
    session: Session,
    settings: Settings,
    share: float,
    *,
    by: str,
    why: str,
    expected: int | None = None,
) -> TrafficSplit:
    """Put this share of users, 0..1, into the model arm; the trial stays as it is.

    Args:
        expected: id of the newest change that the caller knows.

    Raises:
        Conflict: somebody else changed it since *expected*.
    """
    now = _locked(session, settings, expected)
    return _append(session, now, replace(now, canary=share), "canary", by, why)


def start_trial(
    session: Session, settings: Settings, run_id: str, share: float, *, by: str, why: str
) -> TrafficSplit:
    """Answer this share of users, 0..1, from a version that is not live; or change the share.

    Raises:
        Conflict: another version is on trial.
    """
    now = _locked(session, settings, None)
    if now.challenger not in (None, run_id):
        raise Conflict(
            f"version {now.challenger} is on trial; promote or drop it first",
            challenger=now.challenger,
        )
    return _append(session, now, replace(now, challenger=run_id, trial=share), "trial", by, why)


def end_trial(
    session: Session,
    settings: Settings,
    action: Literal["promote", "drop"],
    *,
    by: str,
    why: str,
) -> TrafficSplit:
    """End the trial; doing so twice is harmless.

    Raises:
        Conflict: no version is on trial.
    """
    now = _locked(session, settings, None)
    if now.challenger is None and now.action != action:
        raise Conflict("no version is on trial")
    return _append(session, now, now.without_trial(), action, by, why)


def stop_by_guardrail(
    session: Session, settings: Settings, seen: TrafficSplit, arm: Arm, *, why: str
) -> TrafficSplit:
    """End the canary or the trial whose verdict, on the evidence since *seen*, is worse.

    Raises:
        Conflict: there was another change since *seen*.
    """
    now = _locked(session, settings, seen.change)
    after = now.without_trial() if arm is Arm.CHALLENGER else replace(now, canary=0.0)
    return _append(session, now, after, "guardrail", "guardrail", why)


def _locked(session: Session, settings: Settings, expected: int | None) -> TrafficSplit:
    lock(session)
    now = current(session, settings)
    if expected not in (None, now.change):
        raise Conflict(f"change {now.change} is the newest, {expected} was expected")
    return now


def _append(
    session: Session, now: TrafficSplit, after: TrafficSplit, action: Kind, by: str, why: str
) -> TrafficSplit:
    """With the lock held: add a row, unless it would equal the newest one."""
    if after == now and now.change:
        return now
    row = RolloutChange(
        canary=after.canary,
        challenger=after.challenger,
        trial=after.trial,
        action=action,
        by=by,
        why=why,
        at=func.clock_timestamp(),  # not when the wait for the lock began
    )
    session.add(row)
    session.flush()
    return _from_row(row)


def _from_row(row: RolloutChange) -> TrafficSplit:
    return TrafficSplit(
        canary=row.canary,
        challenger=row.challenger,
        trial=row.trial,
        change=row.id,
        since=row.at,
        action=row.action,
        by=row.by,
        why=row.why,
    )


def _bucket(user_id: str, purpose: str, salt: str) -> float:
    """Hash user, purpose and salt to a number in [0, 1)."""
    key = blake2b(salt.encode(), digest_size=32).digest()
    digest = blake2b(f"{purpose}\0{user_id}".encode("utf-8", "surrogatepass"), key=key)
    return (int.from_bytes(digest.digest()[:8], "big") % _STEPS) / _STEPS
