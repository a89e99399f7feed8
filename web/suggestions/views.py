"""/ml/v2/suggest, and what people say to what it suggested."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from shared.db import feature_store
from shared.db.engine import read_only, transaction, wait_timeout
from shared.db.tables import Action, Arm, JobKind
from shared.errors import Conflict, LedgerError, NotFound, Unavailable
from shared.experiments.traffic_split import TrafficSplit
from shared.features.extract import RawTransaction, features_of
from shared.jobs import requests as job_requests
from shared.monitoring import metrics
from shared.suggestions import feedback, suggestion_store
from shared.suggestions import service as suggestion_service
from shared.suggestions.context import EMPTY_CONTEXT
from shared.suggestions.service import Lookup, ServingContext, SuggestionRequest
from web.http import parsing, problems, schemas
from web.http.auth import caller
from web.http.context import services
from web.http.job_responses import accepted_response, idempotency_key
from web.http.openapi import documented
from web.http.parsing import parse
from web.models.canary import forced_arm
from web.suggestions.schemas import (
    ExplainedSuggestion,
    FeedbackAnswer,
    FeedbackRequest,
    HistoryRequest,
    SuggestAnswer,
    SuggestRaw,
    SuggestRequest,
    SuggestStored,
)

bp = Blueprint("suggest", __name__, url_prefix="/ml/v2")

# A silent PostgreSQL is waited for so long, in seconds, and not asked again for OUTAGE_S.
RAW_WAIT_S = 0.5
STORED_WAIT_S = 5.0
OPEN_S = 1.0


@dataclass(slots=True)
class DatabaseCircuitBreaker:
    """What raw transactions are answered by while PostgreSQL is away.

    Attributes:
        until: not asked again before, in monotonic seconds.
        holds: who was in which arm when it was last asked; None: the environment says it.
    """

    until: float = 0.0
    is_open: TrafficSplit | None = None


SUGGEST: TypeAdapter[SuggestStored | SuggestRaw] = TypeAdapter(SuggestRequest)
RAW = TypeAdapter(schemas.RawFields)
FEEDBACK = TypeAdapter(FeedbackRequest)
HISTORY = TypeAdapter(HistoryRequest)


@bp.post("/suggest")
@documented(body=SuggestRequest, answer=SuggestAnswer, errors=(503,))
def suggest() -> ResponseReturnValue:
    """Suggest a category for each transaction, in order, and say why; or ask.

    Raw transactions are answered without PostgreSQL, too: by the model and the starter rules, and
    `degraded` says so. A bad item gets an error in its place.
    """
    wanted = parse(SUGGEST)
    forced = forced_arm()
    if isinstance(wanted, SuggestStored):
        items, found = _look_up_stored(wanted, forced)
        degraded = False
    else:
        with metrics.time_phase("suggest", "features"):
            items = [_raw_item(item, wanted.user_id) for item in wanted.transactions]
        found, degraded = _look_up_raw(items, forced)
    if forced is Arm.CHALLENGER and found.serving.challenger is None:
        raise Conflict("No version on trial is loaded here")
    with metrics.time_phase("suggest", "model"):
        answers = suggestion_service.suggest(*found)
    ids: list[str | None] = [None] * len(answers)
    if not degraded:
        try:
            with (
                metrics.time_phase("suggest", "store"),
                wait_timeout(STORED_WAIT_S),
                transaction(services().engine) as session,
            ):
                ids = [*suggestion_store.store(session, answers, forced=forced is not None)]
        except Unavailable:
            degraded = True
    metrics.count_suggestions(
        (it.decision.source, it.rules_label, it.model_label) for it in answers
    )
    following = iter(map(_as_json, answers, ids))
    return {
        "items": [
            next(following)
            if isinstance(item, SuggestionRequest)
            else {"error": problems.item_problem(item)}
            for item in items
        ],
        "degraded": degraded,
    }


@bp.post("/suggest/explain")
@documented(body=schemas.RawFields, answer=ExplainedSuggestion, errors=(503,))
def explain_suggestion() -> ResponseReturnValue:
    """Take the answer for one transaction apart; nothing is stored."""
    item = SuggestionRequest(features_of(RawTransaction(**parse(RAW).__dict__)))
    found, degraded = _look_up_raw([item], None, all_profiles=True)
    told = suggestion_service.explain(found.gathered[0], found.context, found.serving)
    features = item.row._asdict() | {
        name: day and day.isoformat()
        for name, day in (("date", item.row.date), ("ts_month", item.row.ts_month))
    }
    return {
        "features": features,
        "label": told.decision.label,
        "confidence": told.decision.confidence,
        "layer": told.decision.layer,
        "alternatives": [other._asdict() for other in told.decision.alternatives],
        "reasons": list(told.decision.reasons),
        "arm": told.arm,
        "layers": [
            {
                "layer": it.layer,
                "label": it.label,
                "confidence": it.confidence,
                "needed": it.threshold,
                "reason": it.reason,
                "rejected": it.label in told.rejected,
                "heard": it not in told.shadow,
            }
            for it in [*told.candidates, *told.shadow]
        ],
        "degraded": degraded,
    }


@bp.post("/suggest/history")
@documented(
    body=HistoryRequest,
    body_may_be_empty=True,
    answer=schemas.AcceptedJob,
    status=202,
    errors=(503,),
    idempotent_by_key=True,
)
def suggest_history() -> ResponseReturnValue:
    """Have a suggestion made for every transaction that nobody has labelled."""
    return request_user_job(JobKind.SUGGEST)


def request_user_job(kind: Literal[JobKind.SUGGEST, JobKind.RULES]) -> ResponseReturnValue:
    """Ask for a job over the transactions of the user whom the body names, or everybody's."""
    wanted = parse(HISTORY, empty="{}")
    job = job_requests.request_for_user(
        services().engine,
        services().publisher,
        kind,
        requested_by=caller(),
        user_id=wanted.user_id,
        idempotency_key=idempotency_key(),
    )
    return accepted_response(job)


@bp.post("/suggestions/<suggestion_id>/feedback")
@documented(body=FeedbackRequest, answer=FeedbackAnswer, errors=(404, 409, 503))
def give_feedback(suggestion_id: str) -> ResponseReturnValue:
    """Accept, correct or reject a suggestion, or undo the newest answer to it.

    The same answer again changes nothing.
    """
    wanted = parse(FEEDBACK)
    with transaction(services().engine) as session:
        if wanted.action == "undo":
            state = feedback.undo(session, suggestion_id)
        else:
            state = feedback.record(session, suggestion_id, Action(wanted.action), wanted.label)
    return state._asdict()


def _look_up_stored(
    wanted: SuggestStored, forced: Arm | None
) -> tuple[Sequence[SuggestionRequest | LedgerError], Lookup]:
    with (
        metrics.time_phase("suggest", "lookup"),
        wait_timeout(STORED_WAIT_S),
        read_only(services().engine) as session,
    ):
        items = _stored_items(session, wanted.txn_ids, wanted.user_id)
        return items, suggestion_service.look_up(session, _asked(items), _heard, forced)


def _look_up_raw(
    items: Sequence[SuggestionRequest | LedgerError],
    forced: Arm | None,
    *,
    all_profiles: bool = False,
) -> tuple[Lookup, bool]:
    """What is known of them; the last is whether that is nothing, since PostgreSQL is away."""
    outage: DatabaseCircuitBreaker = current_app.extensions.setdefault(
        "ledger_outage", DatabaseCircuitBreaker()
    )
    asked = _asked(items)
    if time.monotonic() >= outage.until:
        try:
            with (
                metrics.time_phase("suggest", "lookup"),
                wait_timeout(RAW_WAIT_S),
                read_only(services().engine) as session,
            ):
                found = suggestion_service.look_up(
                    session, asked, _heard, forced, all_profiles=all_profiles
                )
                outage.is_open = found.context.rollout
                return found, False
        except Unavailable:
            outage.until = time.monotonic() + OPEN_S
    heard = _heard(outage.is_open)
    gathered = suggestion_service.gather_evidence(asked, EMPTY_CONTEXT, heard, forced)
    return Lookup(gathered, EMPTY_CONTEXT, heard), True


def _heard(newest: TrafficSplit | None) -> ServingContext:
    own = services()
    return suggestion_service.serving_context(own.live_model, own.challenger, own.settings, newest)


def _asked(items: Sequence[SuggestionRequest | LedgerError]) -> list[SuggestionRequest]:
    return [item for item in items if isinstance(item, SuggestionRequest)]


def _raw_item(item: Any, user_id: str | None) -> SuggestionRequest | LedgerError:
    try:
        told = RAW.validate_json(parsing.as_json(item))
    except ValidationError as error:
        return parsing.invalid(error)
    raw = RawTransaction(**{**told.__dict__, "user_id": told.user_id or user_id})
    return SuggestionRequest(features_of(raw))


def _stored_items(
    session: Session, txn_ids: Sequence[int], user_id: str | None
) -> list[SuggestionRequest | LedgerError]:
    """Of another user's transactions it is not even said that they exist."""
    rows = feature_store.load_rows(session, txn_ids, user_id)
    return [
        SuggestionRequest(rows[txn_id], txn_id)
        if txn_id in rows
        else NotFound("There is no such transaction")
        for txn_id in txn_ids
    ]


def _as_json(
    answer: suggestion_service.SuggestionResult, suggestion_id: str | None
) -> dict[str, Any]:
    shown = answer.decision
    return {
        "suggestion_id": suggestion_id,
        "txn_id": answer.request.txn_id,
        "label": shown.label,
        "confidence": shown.confidence,
        "source": shown.source,
        "layer": shown.layer,
        "alternatives": [{"label": label, "confidence": it} for label, it in shown.alternatives],
        "reasons": list(shown.reasons),
        "arm": answer.arm,
        "model_version": None if answer.arm is Arm.RULES else answer.model_version,
    }
