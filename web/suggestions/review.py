"""/ml/v2/review: which suggestions wait for a person, and one answer to many of them."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from shared.db.engine import transaction
from shared.db.tables import Action
from shared.errors import FieldError, InvalidInput, Unavailable
from shared.services import Services
from shared.suggestions import review_queue
from shared.suggestions.feedback import AnswerState
from shared.suggestions.review_queue import Cursor, QueueFilter, QueueGroup, QueueItem
from web.http import problems
from web.http.context import services
from web.http.openapi import documented
from web.http.parsing import parse, parse_query
from web.http.schemas import (
    ITEMS_MAX,
    Answer,
    Body,
    Identity,
    ItemProblem,
    Label,
    Scored,
    Text,
    Timestamp,
)

bp = Blueprint("review", __name__, url_prefix="/ml/v2")

PAGE = 50
GROUP_MAX = 250  # answers of one request, so that it takes a second or two; see `more`
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
SuggestionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
# The number, the key and the time of a Place; whoever calls need not know.
After = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}-[0-9a-f]{32}-[0-9]{1,16}$")]


class ReviewQuery(BaseModel):
    """Which suggestions that wait, in which order; `after` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    order: Literal["unsure", "merchant"] = "unsure"
    user_id: Identity | None = Field(None, description="missing: everybody's")
    merchant: Text | None = Field(None, description="cleaned; missing: of any")
    limit: Annotated[int, Field(ge=1, le=ITEMS_MAX)] = PAGE
    after: After | None = None


class _Answer(Body):
    """An answer; `label` says what it is instead, for correct, and for nothing else."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "properties": {
                        "action": {"const": "correct"},
                        "label": {"type": "string"},
                    },
                    "required": ["label"],
                },
                {
                    "properties": {
                        "action": {"enum": ["accept", "reject", "undo"]},
                        "label": {"type": "null"},
                    }
                },
            ]
        }
    )

    action: Literal["accept", "correct", "reject", "undo"]
    label: Label | None = None


class ReviewRequest(_Answer):
    """One answer to up to 1,000 suggestions."""

    only_waiting: bool = Field(
        False, description="leave what was answered or labelled meanwhile: `conflict` in its place"
    )

    suggestion_ids: Annotated[list[SuggestionId], Field(min_length=1, max_length=ITEMS_MAX)]


class MerchantRequest(_Answer):
    """One answer to all that wait of a user and a merchant, and for which `suggested` was."""

    action: Literal["accept", "correct", "reject"]
    user_id: Identity | None = Field(None, description="null: those of whom no user is known")
    merchant: Text = Field(description="cleaned")
    suggested: Label | None = Field(None, description="null: those that ask")


class WaitingItem(Answer):
    """A transaction and the suggestion for it; without a `label` it asks."""

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
    alternatives: list[Scored]
    reasons: list[str]
    suggested_at: Timestamp


class MerchantGroup(Answer):
    """Transactions of a user and a merchant for which the same is suggested, and some of them."""

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
    """Where a suggestion stands now, or what was wrong; `label` is the transaction's."""

    suggestion_id: str
    answer: Action | None = None
    answer_label: str | None = None
    label: str | None = None
    error: ItemProblem | None = None


class ReviewAnswer(Answer):
    """In the order of the request. `more`: others wait that the same request would answer."""

    items: list[AnsweredItem]
    more: bool = False


REVIEW = TypeAdapter(ReviewRequest)
MERCHANT = TypeAdapter(MerchantRequest)


@bp.get("/review")
@documented(query=ReviewQuery, answer=Queue, errors=(503,))
def show_queue() -> ResponseReturnValue:
    """The suggestions that wait for a person: the newest of each transaction, not answered yet.

    Pages of the least sure have no gaps and repeat nothing, whatever is answered or suggested anew
    meanwhile.
    """
    wanted = parse_query(ReviewQuery)
    whose = QueueFilter(wanted.user_id, wanted.merchant)
    after = _place(wanted.after) if wanted.after else None
    items: list[QueueItem] = []
    groups: list[QueueGroup] = []
    with transaction(services().engine) as session:
        if wanted.order == "unsure":
            items, following = review_queue.by_uncertainty(session, whose, wanted.limit, after)
        else:
            groups, following = review_queue.by_merchant(session, whose, wanted.limit, after)
        left = None if after else review_queue.count_pending(session, whose)
    return jsonify(
        Queue(
            items=[WaitingItem.model_validate(item) for item in items],
            groups=[MerchantGroup.model_validate(group) for group in groups],
            next=following and _text(following),
            left=left,
        )
    )


@bp.post("/review")
@documented(body=ReviewRequest, answer=ReviewAnswer, errors=(503,))
def answer_many() -> ResponseReturnValue:
    """Accept, correct or reject many suggestions, or undo the newest answer to each, at once.

    A bad item gets an error in its place. The same answer again changes nothing.
    """
    wanted = parse(REVIEW)
    _check(wanted)
    return {"items": _answered(wanted.suggestion_ids, wanted, only_waiting=wanted.only_waiting)}


@bp.post("/review/merchant")
@documented(body=MerchantRequest, answer=ReviewAnswer, errors=(503,))
def answer_merchant() -> ResponseReturnValue:
    """Answer what waits of a merchant, 250 suggestions at once; `more` says to ask again."""
    wanted = parse(MERCHANT)
    _check(wanted)
    with transaction(services().engine) as session:
        ids = review_queue.group_items(
            session, wanted.user_id, wanted.merchant, wanted.suggested, GROUP_MAX + 1
        )
    items = _answered(ids[:GROUP_MAX], wanted, only_waiting=True)
    return {"items": items, "more": len(ids) > GROUP_MAX}


def load_filter_choices(own: Services) -> dict[str, Any]:
    """What one may choose from on the page; nothing while PostgreSQL is away."""
    served = own.live_model.current()
    known = set(served.model.labels) if served else set()
    try:
        with transaction(own.engine) as session:
            known.update(review_queue.categories(session))
            found = {"users": review_queue.users(session), "away": False}
    except Unavailable:
        found = {"users": [], "away": True}
    return {**found, "categories": sorted(known, key=str.casefold)}


def _check(wanted: _Answer) -> None:
    """InvalidInput, if there is a label where none is meant, or none where one is needed."""
    if (wanted.action == "correct") != (wanted.label is not None):
        needed = wanted.label is None
        message = "is needed: what it is instead" if needed else "is for the action correct alone"
        raise InvalidInput(f"label {message}", [FieldError("label", message)])


def _answered(ids: Sequence[str], wanted: _Answer, *, only_waiting: bool) -> list[dict[str, Any]]:
    action = None if wanted.action == "undo" else Action(wanted.action)
    with transaction(services().engine) as session:
        states = review_queue.answer(session, ids, action, wanted.label, only_waiting=only_waiting)
    return [
        state._asdict()
        if isinstance(state, AnswerState)
        else {"suggestion_id": suggestion_id, "error": problems.item_problem(state)}
        for suggestion_id, state in zip(ids, states, strict=True)
    ]


def _text(place: Cursor) -> str:
    number = struct.pack(">d", place.number).hex()
    return f"{number}-{place.key}-{(place.as_of - _EPOCH) // _MICROSECOND}"


def _place(text: str) -> Cursor:
    """What `_text` was made of."""
    number, key, time = text.split("-")
    return Cursor(
        struct.unpack(">d", bytes.fromhex(number))[0], key, _EPOCH + int(time) * _MICROSECOND
    )
