"""Made-up suggestions with their feedback, for tests of the evidence."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Engine, insert, text

from shared.db.engine import transaction
from shared.db.tables import Action, Arm, Suggestion
from shared.experiments import traffic_split
from shared.experiments.traffic_split import TrafficSplit
from shared.monitoring.database_collector import DatabaseCollector
from shared.services import Services
from shared.settings import Settings
from tests.support.metrics import samples_by_label

CHALLENGER = "20260101T000000Z-00000001"
# Feedback to an arm, on average of a user; see `an_arm`.
GOOD: dict[str, int] = {"accepted": 9, "corrected": 1}
POOR: dict[str, int] = {"accepted": 5, "corrected": 5}
SELDOM: dict[str, int] = {"accepted": 3, "corrected": 0, "asked": 17, "users": 200}
OFTEN: dict[str, int] = {"accepted": 16, "corrected": 4, "users": 200}


def add(engine: Engine, *rows: dict[str, Any], ago: str = "0 s") -> None:
    """Insert suggestions, each made *ago*; what a row does not say is of no matter."""
    usual = {
        "user_id": "u",
        "txn_id": None,
        "merchant": "m",
        "label": "Coffee",
        "confidence": 0.9,
        "source": "model",
        "layer": "model",
        "alternatives": [],
        "reasons": [],
        "arm": Arm.RULES,
        "forced": False,
        "rules_label": None,
        "model_label": None,
        "answer": None,
        "answer_label": None,
    }
    made = [{**usual, "id": secrets.token_hex(16), **row} for row in rows]
    with engine.begin() as connection:
        when = connection.scalar(text("SELECT now() - cast(:ago AS interval)"), {"ago": ago})
        connection.execute(insert(Suggestion), [{"created_at": when, **row} for row in made])


def an_arm(
    engine: Engine,
    arm: Arm,
    *,
    users: int = 60,
    accepted: int = 8,
    corrected: int = 2,
    rejected: int = 0,
    unanswered: int = 0,
    asked: int = 0,
    ago: str = "0 s",
    forced: bool = False,
) -> None:
    """Users of an arm, with so many suggestions of each kind on average; a third more or less."""
    rows = []
    for number in range(users):
        whole = {"user_id": f"{arm}-{number}", "arm": arm, "forced": forced}
        for answer, count in (
            (Action.ACCEPT, accepted),
            (Action.CORRECT, corrected),
            (Action.REJECT, rejected),
            (None, unanswered),
        ):
            varied = count + (number % 3 - 1) * (count // 3)
            rows += [{**whole, "answer": answer, "answer_label": answer and "Fuel"}] * varied
        rows += [{**whole, "label": None}] * asked
    add(engine, *rows, ago=ago)


def start_split(
    engine: Engine, settings: Settings, *, canary: float = 0.5, trial: float = 0.0
) -> None:
    """Set the traffic split; only suggestions that are made later count in its arms."""
    with transaction(engine) as session:
        traffic_split.set_canary(session, settings, canary, by="test", why="")
        if trial:
            traffic_split.start_trial(session, settings, CHALLENGER, trial, by="test", why="")


def current_split(engine: Engine, settings: Settings) -> TrafficSplit:
    with transaction(engine) as session:
        return traffic_split.current(session, settings)


def suggestion_metrics(services: Services) -> dict[tuple[str, ...], float]:
    """Every sample that is read from the database, by name and label values."""
    return samples_by_label(DatabaseCollector(services.engine, services.registry).collect())
