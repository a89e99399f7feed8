"""The canary, the trial of a version beside the live one, and where rules and model disagree."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from shared.db.engine import transaction
from shared.db.tables import Arm
from shared.errors import (
    Conflict,
    DamagedVersion,
    FieldError,
    InvalidInput,
    LedgerError,
    NotFound,
)
from shared.experiments import arm_statistics, traffic_split, verdicts
from shared.experiments.traffic_split import TrafficSplit
from shared.registry.store import Registry
from shared.services import Services
from shared.settings import share_of
from web.http import schemas
from web.http.auth import caller
from web.http.context import services
from web.http.openapi import documented
from web.http.parsing import parse, parse_query
from web.models import canary_schemas

bp = Blueprint("rollout", __name__, url_prefix="/ml/v2")

ARM_HEADER = "X-Suggest-Arm"
CANARY: TypeAdapter[canary_schemas.CanaryRequest] = TypeAdapter(canary_schemas.CanaryRequest)
TRIAL: TypeAdapter[canary_schemas.TrialRequest] = TypeAdapter(canary_schemas.TrialRequest)
WHY: TypeAdapter[schemas.ReasonRequest] = TypeAdapter(schemas.ReasonRequest)


def forced_arm() -> Arm | None:
    """The arm that the caller names in X-Suggest-Arm, for tests; None without the header.

    Raises:
        InvalidInput: there is no such arm.
    """
    named = request.headers.get(ARM_HEADER)
    if named is None:
        return None
    try:
        return Arm(named.strip().lower())
    except ValueError:
        expected = f"expected {', '.join(Arm)}"
        raise InvalidInput(
            f"The header {ARM_HEADER} names no arm", [FieldError(ARM_HEADER, expected)]
        ) from None


@bp.get("/canary")
@documented(answer=canary_schemas.Canary, errors=(503,))
def show_canary() -> ResponseReturnValue:
    """Who gets which arm, what people say to each, the verdicts, and who changed what and why."""
    own = services()
    with transaction(own.engine) as session:
        return _canary_response(session, own, traffic_split.current(session, own.settings))


@bp.put("/canary")
@documented(
    body=canary_schemas.CanaryRequest, answer=canary_schemas.RolloutChange, errors=(409, 503)
)
def set_canary() -> ResponseReturnValue:
    """Put a share of users into the model arm, from the next request on.

    A larger share keeps the users that were in before. 409 if `expected_change` is given and is
    no longer the newest change.
    """
    own, wanted = services(), parse(CANARY)
    with transaction(own.engine) as session:
        now = traffic_split.set_canary(
            session,
            own.settings,
            _share(wanted.share),
            by=caller(),
            why=wanted.why or "asked for",
            expected=wanted.expected_change,
        )
    return canary_schemas.change(now)


@bp.post("/trial")
@documented(
    body=canary_schemas.TrialRequest, answer=canary_schemas.RolloutChange, errors=(404, 409, 503)
)
def start_trial() -> ResponseReturnValue:
    """Answer a share of all users from a version that is not live, or change that share."""
    own, wanted = services(), parse(TRIAL)
    with transaction(own.engine) as session:
        traffic_split.lock(
            session
        )  # nothing is pruned between the look at the version and the change
        _check_triable(own.registry, wanted.run_id)
        now = traffic_split.start_trial(
            session,
            own.settings,
            wanted.run_id,
            _share(wanted.share),
            by=caller(),
            why=wanted.why or "asked for",
        )
    return canary_schemas.change(now)


@bp.post("/trial/promote")
@documented(
    body=schemas.ReasonRequest,
    body_may_be_empty=True,
    answer=canary_schemas.RolloutChange,
    errors=(404, 409, 503),
)
def promote_trial() -> ResponseReturnValue:
    """Deploy the version on trial and end the trial; harmless to ask for again."""
    return _end_trial("promote")


@bp.post("/trial/drop")
@documented(
    body=schemas.ReasonRequest,
    body_may_be_empty=True,
    answer=canary_schemas.RolloutChange,
    errors=(409, 503),
)
def drop_trial() -> ResponseReturnValue:
    """End the trial; what is live stays. Harmless to ask for again."""
    return _end_trial("drop")


@bp.get("/suggestions/disagreements")
@documented(
    query=canary_schemas.DisagreementsQuery, answer=canary_schemas.Disagreements, errors=(503,)
)
def show_disagreements() -> ResponseReturnValue:
    """Pairs of categories that rules and model gave to the same transaction, and who was right."""
    days = parse_query(canary_schemas.DisagreementsQuery).days
    with transaction(services().engine) as session:
        count, pairs = arm_statistics.load_disagreements(session, days)
    return {"days": days, "count": count, "pairs": [canary_schemas.pair(pair) for pair in pairs]}


def _end_trial(action: Literal["promote", "drop"]) -> ResponseReturnValue:
    """With the evidence in the record; the deploy first, so that a crash leaves the trial on."""
    own = services()
    asked = parse(WHY, empty="{}").why or "asked for"
    with transaction(own.engine) as session:
        traffic_split.lock(session)
        now = traffic_split.current(session, own.settings)
        why = f"{asked} ({_evidence(session, now)})"
        if action == "promote" and now.challenger:
            own.registry.deploy(now.challenger, by=caller(), why=why)
        now = traffic_split.end_trial(session, own.settings, action, by=caller(), why=why)
    return canary_schemas.change(now)


def _evidence(session: Session, now: TrafficSplit) -> str:
    arms = arm_statistics.load_statistics(session, arm_statistics.evidence_start(now))
    found = [it for it in verdicts.compare_with_control(now, arms) if it.arm is Arm.CHALLENGER]
    return "; ".join(f"{now.challenger}: {it.outcome}: {it.why}" for it in found)


def _check_triable(registry: Registry, run_id: str) -> None:
    """NotFound, DamagedVersion or Conflict, if this version is not one to be tried."""
    problem = registry.version(run_id).problem
    if problem is not None:
        raise DamagedVersion(f"version {run_id}: {problem}", run_id=run_id)
    registry.load(run_id)  # every file is what was saved
    live = registry.current()
    if live is not None and live.run_id == run_id:
        raise Conflict(f"version {run_id} is live; there is nothing to try")


def _canary_response(session: Session, own: Services, now: TrafficSplit) -> dict[str, Any]:
    since = arm_statistics.evidence_start(now)
    arms = arm_statistics.load_statistics(session, since)
    oldest = [it.first for it in arms.values() if it.first]
    cut = sum(it.suggestions for it in arms.values()) >= arm_statistics.ROWS
    return {
        **canary_schemas.change(now),
        "trial_problem": _problem(own.registry, now.challenger),
        "evidence_since": (min(oldest) if cut else since).isoformat(),
        "arms": {arm.value: canary_schemas.figures(found) for arm, found in arms.items()},
        "verdicts": [canary_schemas.verdict(it) for it in verdicts.compare_with_control(now, arms)],
        "history": [canary_schemas.change(it) for it in traffic_split.history(session)],
    }


def _problem(registry: Registry, run_id: str | None) -> str | None:
    if run_id is None:
        return None
    try:
        return registry.version(run_id).problem
    except NotFound:
        return "the version is no longer stored"
    except LedgerError as error:
        return str(error)


def _share(given: float | str) -> float:
    return share_of(given) if isinstance(given, str) else given
