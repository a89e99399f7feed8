"""/ml/v2/suggest, and feedback to suggestions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter, ValidationError

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
from shared.suggestions.decision import Decision
from shared.suggestions.service import Lookup, ServingContext, SuggestionRequest
from web.http import parsing, problems
from web.http.auth import caller
from web.http.context import get_services
from web.http.job_responses import accepted_response, idempotency_key
from web.http.openapi import documented, documented_job
from web.http.parsing import parse
from web.http.schemas import RawFields
from web.models.canary import forced_arm
from web.suggestions import schemas
from web.suggestions.schemas import SuggestRaw, SuggestRequest, SuggestStored

bp = Blueprint("suggest", __name__, url_prefix="/ml/v2")

RAW_WAIT_S = 0.5  # for PostgreSQL, where a degraded answer is possible
STORED_WAIT_S = 5.0
OPEN_S = 1.0  # after a failure, PostgreSQL is not tried again for this long


@dataclass(slots=True)
class DatabaseCircuitBreaker:
    """Whether raw transactions are answered without PostgreSQL, after it did not answer."""

    until: float = 0.0  # it is not tried before, in monotonic seconds
    split: TrafficSplit | None = None  # the newest that was read; None: that of the environment


Item = SuggestionRequest | LedgerError  # of a request: a transaction, or what is wrong with it
SUGGEST: TypeAdapter[SuggestStored | SuggestRaw] = TypeAdapter(SuggestRequest)
RAW = TypeAdapter(RawFields)


@bp.post("/suggest")
@documented(body=SuggestRequest, answer=schemas.SuggestAnswer, errors=(503,))
def suggest() -> ResponseReturnValue:
    """Suggest a category for each transaction, in order, and say why; or ask.

    Raw transactions are answered without PostgreSQL, too: by the model and the starter rules, and
    `degraded` says so. A bad item gets an error in its place.
    """
    args = parse(SUGGEST)
    forced = forced_arm()
    if isinstance(args, SuggestStored):
        items, looked_up = _look_up_stored(args, forced)
        degraded = False
    else:
        with metrics.time_phase("suggest", "features"):
            items = [_raw_item(item, args.user_id) for item in args.transactions]
        looked_up, degraded = _look_up_raw(items, forced)
    if forced is Arm.CHALLENGER and looked_up.serving.challenger is None:
        raise Conflict("No version on trial is loaded here")
    with metrics.time_phase("suggest", "model"):
        results = suggestion_service.suggest(*looked_up)
    ids: list[str | None] = [None] * len(results)
    if not degraded:
        try:
            with (
                metrics.time_phase("suggest", "store"),
                wait_timeout(STORED_WAIT_S),
                transaction(get_services().engine) as session,
            ):
                ids = [*suggestion_store.store(session, results, forced=forced is not None)]
        except Unavailable:
            degraded = True
    metrics.count_suggestions(
        (result.decision.source, result.rules_label, result.model_label) for result in results
    )
    suggested = iter(map(_suggested_item, results, ids))
    answers = [
        next(suggested)
        if isinstance(item, SuggestionRequest)
        else {"error": problems.item_problem(item)}
        for item in items
    ]
    return {"items": answers, "degraded": degraded}


@bp.post("/suggest/explain")
@documented(body=RawFields, answer=schemas.ExplainedSuggestion, errors=(503,))
def explain_suggestion() -> ResponseReturnValue:
    """Explain the suggestion for one transaction; nothing is stored."""
    item = SuggestionRequest(features_of(RawTransaction(**parse(RawFields).__dict__)))
    looked_up, degraded = _look_up_raw([item], None, all_profiles=True)
    explained = suggestion_service.explain(
        looked_up.gathered[0], looked_up.context, looked_up.serving
    )
    decision = explained.decision
    layers = [
        {
            "layer": it.layer,
            "label": it.label,
            "confidence": it.confidence,
            "needed": it.threshold,
            "reason": it.reason(),
            "rejected": it.label in explained.rejected,
            "heard": it not in explained.shadow,
        }
        for it in (*explained.candidates, *explained.shadow)
    ]
    return {
        "features": item.row._asdict(),
        **_decision_response(decision),
        "arm": explained.arm,
        "layers": layers,
        "degraded": degraded,
    }


@bp.post("/suggest/history")
@documented_job(body=schemas.HistoryRequest, errors=(503,))
def suggest_history() -> ResponseReturnValue:
    """Queue a job that suggests for every open transaction."""
    return request_user_job(JobKind.SUGGEST)


def request_user_job(kind: Literal[JobKind.SUGGEST, JobKind.RULES]) -> ResponseReturnValue:
    """Queue a job over the transactions of the user in the body, or of all users."""
    services = get_services()
    job = job_requests.request_for_user(
        services.engine,
        services.publisher,
        kind,
        requested_by=caller(),
        user_id=parse(schemas.HistoryRequest, may_be_empty=True).user_id,
        idempotency_key=idempotency_key(),
    )
    return accepted_response(job)


@bp.post("/suggestions/<suggestion_id>/feedback")
@documented(body=schemas.FeedbackRequest, answer=schemas.FeedbackAnswer, errors=(404, 409, 503))
def give_feedback(suggestion_id: str) -> ResponseReturnValue:
    """Accept, correct or reject a suggestion, or undo the newest answer to it.

    The same answer again changes nothing.
    """
    args = parse(schemas.FeedbackRequest)
    with transaction(get_services().engine) as session:
        if args.action == "undo":
            state = feedback.undo(session, suggestion_id)
        else:
            state = feedback.record(session, suggestion_id, Action(args.action), args.label)
    return jsonify(schemas.FeedbackAnswer.model_validate(state))


def _look_up_stored(args: SuggestStored, forced: Arm | None) -> tuple[list[Item], Lookup]:
    with (
        metrics.time_phase("suggest", "lookup"),
        wait_timeout(STORED_WAIT_S),
        read_only(get_services().engine) as session,
    ):
        # Transactions of other users are not found.
        rows = feature_store.load_rows(session, args.txn_ids, args.user_id)
        items: list[Item] = [
            SuggestionRequest(rows[txn_id], txn_id)
            if txn_id in rows
            else NotFound("There is no such transaction")
            for txn_id in args.txn_ids
        ]
        return items, suggestion_service.look_up(session, _good(items), _serving, forced)


def _look_up_raw(
    items: Sequence[Item], forced: Arm | None, *, all_profiles: bool = False
) -> tuple[Lookup, bool]:
    """The evidence for raw transactions, and whether it is degraded: without the database."""
    breaker: DatabaseCircuitBreaker = current_app.extensions.setdefault(
        "ledger_outage", DatabaseCircuitBreaker()
    )
    good = _good(items)
    if time.monotonic() >= breaker.until:
        try:
            with (
                metrics.time_phase("suggest", "lookup"),
                wait_timeout(RAW_WAIT_S),
                read_only(get_services().engine) as session,
            ):
                looked_up = suggestion_service.look_up(
                    session, good, _serving, forced, all_profiles=all_profiles
                )
                breaker.split = looked_up.context.rollout
                return looked_up, False
        except Unavailable:
            breaker.until = time.monotonic() + OPEN_S
    serving = _serving(breaker.split)
    evidence = suggestion_service.gather_evidence(good, EMPTY_CONTEXT, serving, forced)
    return Lookup(evidence, EMPTY_CONTEXT, serving), True


def _serving(split: TrafficSplit | None) -> ServingContext:
    services = get_services()
    return suggestion_service.serving_context(
        services.live_model, services.challenger, services.settings, split
    )


def _good(items: Sequence[Item]) -> list[SuggestionRequest]:
    return [item for item in items if isinstance(item, SuggestionRequest)]


def _raw_item(item: Any, user_id: str | None) -> Item:
    try:
        fields = parsing.parse_item(RAW, item)
    except ValidationError as error:
        return parsing.invalid(error)
    raw = RawTransaction(**{**fields.__dict__, "user_id": fields.user_id or user_id})
    return SuggestionRequest(features_of(raw))


def _suggested_item(
    result: suggestion_service.SuggestionResult, suggestion_id: str | None
) -> dict[str, Any]:
    """A `SuggestedItem`; a dictionary, since a model of each of 1,000 takes three times as long."""
    return {
        "suggestion_id": suggestion_id,
        "txn_id": result.request.txn_id,
        **_decision_response(result.decision),
        "source": result.decision.source,
        "arm": result.arm,
        "model_version": None if result.arm is Arm.RULES else result.model_version,
    }


def _decision_response(decision: Decision) -> dict[str, Any]:
    return {
        "label": decision.label,
        "confidence": decision.confidence,
        "layer": decision.layer,
        "alternatives": [
            {"label": label, "confidence": share} for label, share in decision.alternatives
        ],
        "reasons": decision.reasons,
    }
