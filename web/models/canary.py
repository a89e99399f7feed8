"""/ml/v2/canary, /ml/v2/trial and /ml/v2/suggestions/disagreements."""

from __future__ import annotations

from functools import partial
from typing import Literal

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from shared.db.engine import transaction
from shared.db.tables import Arm
from shared.errors import Conflict, DamagedVersion, FieldError, InvalidInput, LedgerError, NotFound
from shared.experiments import arm_statistics, traffic_split, verdicts
from shared.experiments.traffic_split import TrafficSplit
from shared.registry.store import Registry
from shared.settings import share_of
from web.http.auth import caller
from web.http.context import get_services
from web.http.openapi import documented
from web.http.parsing import parse, parse_query
from web.http.schemas import ReasonRequest
from web.models import canary_schemas
from web.models.canary_schemas import Canary, Disagreements, DisagreementsQuery, RolloutChange

bp = Blueprint("rollout", __name__, url_prefix="/ml/v2")

ARM_HEADER = "X-Suggest-Arm"


def forced_arm() -> Arm | None:
    """The arm in the header X-Suggest-Arm, for tests; None without it, InvalidInput if unknown."""
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
@documented(answer=Canary, errors=(503,))
def show_canary() -> ResponseReturnValue:
    """Who gets which arm, what people say to each, the verdicts, and who changed what and why."""
    services = get_services()
    with transaction(services.engine) as session:
        split = traffic_split.current(session, services.settings)
        return jsonify(_canary(session, services.registry, split))


@bp.put("/canary")
@documented(body=canary_schemas.CanaryRequest, answer=RolloutChange, errors=(409, 503))
def set_canary() -> ResponseReturnValue:
    """Put a share of users into the model arm, from the next request on.

    A larger share keeps the users that were in before. 409 if `expected_change` is given and is
    no longer the newest change.
    """
    services, args = get_services(), parse(canary_schemas.CanaryRequest)
    with transaction(services.engine) as session:
        split = traffic_split.set_canary(
            session,
            services.settings,
            _share(args.share),
            by=caller(),
            why=args.why or "asked for",
            expected=args.expected_change,
        )
    return jsonify(RolloutChange.model_validate(split))


@bp.post("/trial")
@documented(body=canary_schemas.TrialRequest, answer=RolloutChange, errors=(404, 409, 503))
def start_trial() -> ResponseReturnValue:
    """Answer a share of all users from a version that is not live, or change that share."""
    services, args = get_services(), parse(canary_schemas.TrialRequest)
    with transaction(services.engine) as session:
        traffic_split.lock(session)  # so that the version is not pruned after it was checked
        _check_triable(services.registry, args.run_id)
        split = traffic_split.start_trial(
            session,
            services.settings,
            args.run_id,
            _share(args.share),
            by=caller(),
            why=args.why or "asked for",
        )
    return jsonify(RolloutChange.model_validate(split))


_documented_end = partial(
    documented, body=ReasonRequest, body_may_be_empty=True, answer=RolloutChange
)


@bp.post("/trial/promote")
@_documented_end(errors=(404, 409, 503))
def promote_trial() -> ResponseReturnValue:
    """Deploy the version on trial and end the trial; safe to repeat."""
    return _end_trial("promote")


@bp.post("/trial/drop")
@_documented_end(errors=(409, 503))
def drop_trial() -> ResponseReturnValue:
    """End the trial; the live version stays. Safe to repeat."""
    return _end_trial("drop")


@bp.get("/suggestions/disagreements")
@documented(query=DisagreementsQuery, answer=Disagreements, errors=(503,))
def show_disagreements() -> ResponseReturnValue:
    """Pairs of categories that rules and model gave to the same transaction, and who was right."""
    days = parse_query(DisagreementsQuery).days
    with transaction(get_services().engine) as session:
        count, pairs = arm_statistics.load_disagreements(
            session, days, get_services().settings.shared_label_users
        )
    pairs_shown = [canary_schemas.Disagreement.of(pair) for pair in pairs]
    return jsonify(Disagreements(days=days, count=count, pairs=pairs_shown))


def _end_trial(action: Literal["promote", "drop"]) -> ResponseReturnValue:
    """End the trial, with the evidence on record.

    The deploy comes first: after a crash between the two, the request can be repeated.
    """
    services = get_services()
    reason = parse(ReasonRequest, may_be_empty=True).why or "asked for"
    with transaction(services.engine) as session:
        traffic_split.lock(session)
        split = traffic_split.current(session, services.settings)
        why = f"{reason} ({_evidence(session, split)})"
        if action == "promote" and split.challenger:
            services.registry.deploy(split.challenger, by=caller(), why=why)
        split = traffic_split.end_trial(session, services.settings, action, by=caller(), why=why)
    return jsonify(RolloutChange.model_validate(split))


def _evidence(session: Session, split: TrafficSplit) -> str:
    arms = arm_statistics.load_statistics(session, arm_statistics.evidence_start(split))
    return "; ".join(
        f"{split.challenger}: {verdict.outcome}: {verdict.why}"
        for verdict in verdicts.compare_with_control(split, arms)
        if verdict.arm is Arm.CHALLENGER
    )


def _check_triable(registry: Registry, run_id: str) -> None:
    """Raise NotFound, DamagedVersion or Conflict if this version cannot be tried."""
    problem = registry.version(run_id).problem
    if problem is not None:
        raise DamagedVersion(f"version {run_id}: {problem}", run_id=run_id)
    registry.load(run_id)  # checks the hash of every file
    live = registry.current()
    if live is not None and live.run_id == run_id:
        raise Conflict(f"version {run_id} is live; there is nothing to try")


def _canary(session: Session, registry: Registry, split: TrafficSplit) -> Canary:
    since = arm_statistics.evidence_start(split)
    arms = arm_statistics.load_statistics(session, since)
    if sum(arm.suggestions for arm in arms.values()) >= arm_statistics.ROWS:
        since = min(arm.first for arm in arms.values() if arm.first)  # older ones were not read
    compared = verdicts.compare_with_control(split, arms)
    return Canary(
        **RolloutChange.model_validate(split).model_dump(),
        trial_problem=_problem(registry, split.challenger),
        evidence_since=since,
        arms={arm: canary_schemas.ArmFigures.of(figures) for arm, figures in arms.items()},
        verdicts=[canary_schemas.VerdictAnswer.of(verdict) for verdict in compared],
        history=[RolloutChange.model_validate(change) for change in traffic_split.history(session)],
    )


def _problem(registry: Registry, run_id: str | None) -> str | None:
    if run_id is None:
        return None
    try:
        return registry.version(run_id).problem
    except NotFound:
        return "the version is no longer stored"
    except LedgerError as error:
        return str(error)


def _share(share: float | str) -> float:
    return share_of(share) if isinstance(share, str) else share
