"""/ml/v2/review: the review queue, and one answer to many suggestions."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import Row

from shared.db.engine import transaction
from shared.db.tables import Action
from shared.errors import InvalidInput, Unavailable
from shared.services import Services
from shared.suggestions import review_queue
from shared.suggestions.feedback import AnswerState
from shared.suggestions.review_queue import Cursor, QueueFilter, QueueGroup
from web.http import problems, schemas
from web.http.context import get_services
from web.http.openapi import documented
from web.http.parsing import parse, parse_query
from web.http.schemas import ITEMS_MAX, Answer, Body, Identity, Label, Query, Text

bp = Blueprint("review", __name__, url_prefix="/ml/v2")

PAGE_SIZE = 50
GROUP_MAX = 250  # answers of one request, so that it takes a second or two; see `more`
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
SuggestionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
# Number, key and time of a cursor; opaque to clients.
After = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}-[0-9a-f]{32}-[0-9]{1,16}$")]


class ReviewQuery(Query):
    """Which pending suggestions, in which order; `after` is the `next` of the page before."""

    order: Literal["unsure", "merchant"] = "unsure"
    user_id: Identity | None = Field(None, description="missing: everybody's")
    merchant: Text | None = Field(None, description="cleaned; missing: of any")
    limit: Annotated[int, Field(ge=1, le=ITEMS_MAX)] = PAGE_SIZE
    after: After | None = None


class _Answer(Body):
    """A user's answer; `label` is the right category, for the action correct only."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"properties": {"action": {"const": "correct"}, "label": {"type": "string"}},
                 "required": ["label"]},
                {"properties": {"action": {"enum": ["accept", "reject", "undo"]},
                                "label": {"type": "null"}}},
            ]
        }
    )  # fmt: skip

    action: Literal["accept", "correct", "reject", "undo"]
    label: Label | None = None


class ReviewRequest(_Answer):
    """One answer to up to 1,000 suggestions."""

    only_waiting: bool = Field(
        False, description="leave what was answered or labelled meanwhile: `conflict` in its place"
    )

    suggestion_ids: Annotated[list[SuggestionId], Field(min_length=1, max_length=ITEMS_MAX)]


class MerchantRequest(_Answer):
    """One answer to all pending suggestions of one label for a user and a merchant."""

    action: Literal["accept", "correct", "reject"]
    user_id: Identity | None = Field(None, description="null: those of whom no user is known")
    merchant: Text = Field(description="cleaned")
    suggested: Label | None = Field(None, description="null: those that ask")


class WaitingItem(Answer):
    """A transaction and its pending suggestion; without a `label` it asks."""

    suggestion_id: str
    txn_id: int
    user_id: str | None
    date: dt.date
    amount: float
    currency: str
    merchant: str = Field(description="cleaned")
    raw_merchant: str | None
    description: str | None
    label: str | None
    confidence: Annotated[float, Field(ge=0, le=1)]
    source: str
    layer: str
    alternatives: list[schemas.Scored]
    reasons: list[str]
    suggested_at: schemas.Timestamp


class MerchantGroup(Answer):
    """Transactions of a user and a merchant with the same suggestion, and some samples."""

    user_id: str | None
    merchant: str
    label: str | None
    rows: int
    amount: float | None = Field(description="the sum; null where there are several currencies")
    currency: str | None
    samples: list[WaitingItem]


class Queue(Answer):
    """`items` by the least sure first, or `groups` by merchant; `next` is null at the end."""

    items: list[WaitingItem] = Field(default_factory=list)
    groups: list[MerchantGroup] = Field(default_factory=list)
    next: str | None
    left: int | None = Field(
        description="how many transactions wait, 2,000 meaning so many or more; first page only"
    )


class AnsweredItem(Answer):
    """The state of a suggestion, or an error; `label` is that of the transaction."""

    suggestion_id: str
    answer: Action | None = None
    answer_label: str | None = None
    label: str | None = None
    error: schemas.ItemProblem | None = None


class ReviewAnswer(Answer):
    """In the order of the request. `more`: the same request would answer further ones."""

    items: list[AnsweredItem]
    more: bool = False


@bp.get("/review")
@documented(query=ReviewQuery, answer=Queue, errors=(503,))
def show_queue() -> ResponseReturnValue:
    """The review queue: the newest suggestion of each open transaction, not answered yet.

    Pages of the least sure have no gaps and repeat nothing, whatever is answered or suggested anew
    meanwhile.
    """
    query = parse_query(ReviewQuery)
    queue = QueueFilter(query.user_id, query.merchant)
    after = _parse_cursor(query.after) if query.after else None
    items: Sequence[Row[Any]] = ()
    groups: list[QueueGroup] = []
    with transaction(get_services().engine) as session:
        if query.order == "unsure":
            items, cursor = review_queue.by_uncertainty(session, queue, query.limit, after)
        else:
            groups, cursor = review_queue.by_merchant(session, queue, query.limit, after)
        left = None if after else review_queue.count_pending(session, queue)
    return jsonify(
        Queue(
            items=[WaitingItem.model_validate(item) for item in items],
            groups=[MerchantGroup.model_validate(group) for group in groups],
            next=cursor and _format_cursor(cursor),
            left=left,
        )
    )


@bp.post("/review")
@documented(body=ReviewRequest, answer=ReviewAnswer, errors=(503,))
def answer_many() -> ResponseReturnValue:
    """Accept, correct or reject many suggestions, or undo the newest answer to each, at once.

    A bad item gets an error in its place. The same answer again changes nothing.
    """
    args = parse(ReviewRequest)
    _check(args)
    items = _answer_items(args.suggestion_ids, args, only_waiting=args.only_waiting)
    return jsonify(ReviewAnswer(items=items))


@bp.post("/review/merchant")
@documented(body=MerchantRequest, answer=ReviewAnswer, errors=(503,))
def answer_merchant() -> ResponseReturnValue:
    """Answer up to 250 pending suggestions of a merchant; `more` says to repeat the request."""
    args = parse(MerchantRequest)
    _check(args)
    with transaction(get_services().engine) as session:
        ids = review_queue.group_items(
            session, args.user_id, args.merchant, args.suggested, GROUP_MAX + 1
        )
    items = _answer_items(ids[:GROUP_MAX], args, only_waiting=True)
    return jsonify(ReviewAnswer(items=items, more=len(ids) > GROUP_MAX))


def load_filter_choices(services: Services, user_id: str) -> dict[str, Any]:
    """The users and categories to choose from on the page; `away` while PostgreSQL is down.

    With several users, these are the open categories and those of *user_id*.
    """
    served, min_users = services.live_model.current(), services.settings.shared_label_users
    users: list[str] = []
    labels: list[str] = []
    away = False
    try:
        with transaction(services.engine) as session:
            users = review_queue.distinct_values(session, "user_id", "suggestions")
            if len(users) < 2 or min_users == 1:
                labels = review_queue.distinct_values(session, "label", "transaction_labels")
            else:
                labels = review_queue.labels_of(session, user_id)
                labels += [] if served else review_queue.shared_labels(session, min_users)
    except Unavailable:
        away = True
    known = served.model.open_labels if served else ()
    categories = sorted({*labels, *known}, key=str.casefold)
    return {"users": users, "away": away, "categories": categories}


def _check(args: _Answer) -> None:
    """Raise InvalidInput for correct without a label, or another action with one."""
    if (args.action == "correct") != (args.label is not None):
        needed = args.label is None
        message = "is needed: what it is instead" if needed else "is for the action correct alone"
        raise InvalidInput.of_field("label", message)


def _answer_items(ids: Sequence[str], args: _Answer, *, only_waiting: bool) -> list[AnsweredItem]:
    action = None if args.action == "undo" else Action(args.action)
    with transaction(get_services().engine) as session:
        states = review_queue.answer(session, ids, action, args.label, only_waiting=only_waiting)
    return [
        AnsweredItem.model_validate(state)
        if isinstance(state, AnswerState)
        else AnsweredItem(suggestion_id=suggestion_id, error=problems.item_problem(state))
        for suggestion_id, state in zip(ids, states, strict=True)
    ]


def _format_cursor(cursor: Cursor) -> str:
    number = struct.pack(">d", cursor.number).hex()
    return f"{number}-{cursor.key}-{(cursor.as_of - _EPOCH) // _MICROSECOND}"


def _parse_cursor(text: str) -> Cursor:
    number, key, time = text.split("-")
    return Cursor(
        struct.unpack(">d", bytes.fromhex(number))[0], key, _EPOCH + int(time) * _MICROSECOND
    )
