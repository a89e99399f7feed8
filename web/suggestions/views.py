"""/ml/v2/suggest, and what people say to what it suggested."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from shared.db import feature_store
from shared.db.engine import patience, questions, transaction
from shared.db.tables import Action, Arm, JobKind
from shared.errors import Conflict, LedgerError, NotFound, Unavailable
from shared.experiments.traffic_split import Rollout
from shared.features.extract import RawTransaction, features_of
from shared.jobs import requests as job_requests
from shared.monitoring import metrics
from shared.suggestions import feedback, suggestion_store
from shared.suggestions import service as suggestion_service
from shared.suggestions.context import NOTHING, Known, known_but_habits, with_habits
from shared.suggestions.service import Asked, Gathered, Heard
from web.http import parsing, problems, schemas
from web.http.auth import caller
from web.http.context import services
from web.http.job_responses import asked_for, idempotency_key
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
RAW_PATIENCE_S = 0.5
STORED_PATIENCE_S = 5.0
OUTAGE_S = 1.0


@dataclass(slots=True)
class Outage:
    """What raw transactions are answered by while PostgreSQL is away.

    Attributes:
        until: not asked again before, in monotonic seconds.
        holds: who was in which arm when it was last asked; None: the environment says it.
    """

    until: float = 0.0
    holds: Rollout | None = None


class LookedUp(NamedTuple):
    """What a request finds of its transactions, and the models that it uses."""

    gathered: list[Gathered]
    said: Known
    heard: Heard


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
        with metrics.phase("suggest", "features"):
            items = [_raw_item(item, wanted.user_id) for item in wanted.transactions]
        found, degraded = _look_up_raw(items, forced)
    if forced is Arm.CHALLENGER and found.heard.challenger is None:
        raise Conflict("No version on trial is loaded here")
    with metrics.phase("suggest", "model"):
        answers = suggestion_service.answer_gathered(*found)
    ids: list[str | None] = [None] * len(answers)
    if not degraded:
        try:
            with (
                metrics.phase("suggest", "store"),
                patience(STORED_PATIENCE_S),
                transaction(services().engine) as session,
            ):
                ids = [*suggestion_store.keep(session, answers, forced=forced is not None)]
        except Unavailable:
            degraded = True
    metrics.suggested((it.suggested.source, it.rules_label, it.model_label) for it in answers)
    following = iter(map(_as_json, answers, ids))
    return {
        "items": [
            next(following) if isinstance(item, Asked) else {"error": problems.item_problem(item)}
            for item in items
        ],
        "degraded": degraded,
    }


@bp.post("/suggest/explain")
@documented(body=schemas.RawFields, answer=ExplainedSuggestion, errors=(503,))
def explain_suggestion() -> ResponseReturnValue:
    """Take the answer for one transaction apart; nothing is stored."""
    item = Asked(features_of(RawTransaction(**parse(RAW).__dict__)))
    found, degraded = _look_up_raw([item], None, all_layers=True)
    told = suggestion_service.explain(item, found.said, found.heard)
    features = item.row._asdict() | {
        name: day and day.isoformat()
        for name, day in (("date", item.row.date), ("ts_month", item.row.ts_month))
    }
    return {
        "features": features,
        "label": told.shown.label,
        "confidence": told.shown.confidence,
        "layer": told.shown.layer,
        "alternatives": [other._asdict() for other in told.shown.alternatives],
        "reasons": list(told.shown.reasons),
        "arm": told.arm,
        "layers": [
            {
                "layer": it.layer,
                "label": it.label,
                "confidence": it.confidence,
                "needed": it.bar,
                "reason": it.reason,
                "rejected": it.label in told.rejected,
                "heard": it not in told.unheard,
            }
            for it in [*told.voices, *told.unheard]
        ],
        "degraded": degraded,
    }


@bp.post("/suggest/history")
@documented(
    body=HistoryRequest,
    body_may_be_empty=True,
    answer=schemas.Asked,
    status=202,
    errors=(503,),
    idempotent_by_key=True,
)
def suggest_history() -> ResponseReturnValue:
    """Have a suggestion made for every transaction that nobody has labelled."""
    return ask_for(JobKind.SUGGEST)


def ask_for(kind: Literal[JobKind.SUGGEST, JobKind.RULES]) -> ResponseReturnValue:
    """Ask for a job over the transactions of the user whom the body names, or everybody's."""
    wanted = parse(HISTORY, empty="{}")
    job = job_requests.request_for_user(
        services().engine,
        services().messenger,
        kind,
        requested_by=caller(),
        user_id=wanted.user_id,
        idempotency_key=idempotency_key(),
    )
    return asked_for(job)


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
            state = feedback.give(session, suggestion_id, Action(wanted.action), wanted.label)
    return state._asdict()


def _look_up_stored(
    wanted: SuggestStored, forced: Arm | None
) -> tuple[Sequence[Asked | LedgerError], LookedUp]:
    with (
        metrics.phase("suggest", "lookup"),
        patience(STORED_PATIENCE_S),
        questions(services().engine) as session,
    ):
        items = _stored_items(session, wanted.txn_ids, wanted.user_id)
        return items, _look_up(session, _asked(items), forced)


def _look_up_raw(
    items: Sequence[Asked | LedgerError], forced: Arm | None, *, all_layers: bool = False
) -> tuple[LookedUp, bool]:
    """What is known of them; the last is whether that is nothing, since PostgreSQL is away."""
    outage: Outage = current_app.extensions.setdefault("ledger_outage", Outage())
    asked = _asked(items)
    if time.monotonic() >= outage.until:
        try:
            with (
                metrics.phase("suggest", "lookup"),
                patience(RAW_PATIENCE_S),
                questions(services().engine) as session,
            ):
                found = _look_up(session, asked, forced, all_layers=all_layers)
                outage.holds = found.said.rollout
                return found, False
        except Unavailable:
            outage.until = time.monotonic() + OUTAGE_S
    heard = _heard(outage.holds)
    return LookedUp(suggestion_service.gather(asked, NOTHING, heard, forced), NOTHING, heard), True


def _look_up(
    session: Session, asked: Sequence[Asked], forced: Arm | None, *, all_layers: bool = False
) -> LookedUp:
    said = known_but_habits(session, [(it.row.user_id, it.row.merchant) for it in asked])
    heard = _heard(said.rollout)
    gathered = suggestion_service.gather(asked, said, heard, forced)
    if all_layers:
        users = {it.row.user_id for it in asked}
    else:
        users = suggestion_service.users_needing_profile(gathered)
    return LookedUp(gathered, with_habits(session, said, users), heard)


def _heard(newest: Rollout | None) -> Heard:
    own = services()
    return suggestion_service.heard(own.runtime, own.challengers, own.settings, newest)


def _asked(items: Sequence[Asked | LedgerError]) -> list[Asked]:
    return [item for item in items if isinstance(item, Asked)]


def _raw_item(item: Any, user_id: str | None) -> Asked | LedgerError:
    try:
        told = RAW.validate_json(parsing.as_json(item))
    except ValidationError as error:
        return parsing.invalid(error)
    raw = RawTransaction(**{**told.__dict__, "user_id": told.user_id or user_id})
    return Asked(features_of(raw))


def _stored_items(
    session: Session, txn_ids: Sequence[int], user_id: str | None
) -> list[Asked | LedgerError]:
    """Of another user's transactions it is not even said that they exist."""
    rows = feature_store.rows(session, txn_ids, user_id)
    return [
        Asked(rows[txn_id], txn_id) if txn_id in rows else NotFound("There is no such transaction")
        for txn_id in txn_ids
    ]


def _as_json(answer: suggestion_service.Answer, suggestion_id: str | None) -> dict[str, Any]:
    shown = answer.suggested
    return {
        "suggestion_id": suggestion_id,
        "txn_id": answer.asked.txn_id,
        "label": shown.label,
        "confidence": shown.confidence,
        "source": shown.source,
        "layer": shown.layer,
        "alternatives": [{"label": label, "confidence": it} for label, it in shown.alternatives],
        "reasons": list(shown.reasons),
        "arm": answer.arm,
        "model_version": None if answer.arm is Arm.RULES else answer.model_version,
    }
