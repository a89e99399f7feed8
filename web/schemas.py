"""Requests and answers: what is checked, and what OpenAPI says of it, in one place."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
from contextlib import nullcontext, suppress
from typing import Annotated, Any, Literal, Self, TypeVar

from flask import request
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.errors import FieldError, InvalidInput
from shared.tables import LABEL_MAX, JobKind, JobState, LabelSource
from web.problems import TooLarge, WrongContentType

T = TypeVar("T")
Q = TypeVar("Q", bound=BaseModel)
ITEMS_MAX = 1_000
LARGE_BYTES = 256 * 1024
_one_large = threading.Lock()  # read one at a time: 4 MiB of brackets are 200 MB of objects
ERRORS_MAX = 100  # told of one body or item; who sends more has to begin anew anyway


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 2.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _day(value: Any) -> dt.date:
    """In one form only: pydantic would take the text of a Unix time for a date, too."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        with suppress(ValueError):  # such as the 30th of February
            return dt.date.fromisoformat(value)
    raise PydanticCustomError("date", "Input should be a date, as YYYY-MM-DD")


def _of_money(amount: float) -> float:
    return round(amount, 4)


_NO_NUL = r"^[^\x00]*$"
_NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
_TRIMMED = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
Text = Annotated[str, StringConstraints(max_length=1000, pattern=_NO_NUL)]
Channel = Annotated[str, StringConstraints(max_length=40, pattern=_NO_NUL)]
Reason = Annotated[str, StringConstraints(max_length=500, pattern=_NO_CONTROL)]
Identity = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_NO_CONTROL)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Mcc = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=LABEL_MAX, pattern=_TRIMMED)]
Amount = Annotated[float, Field(gt=-1e14, lt=1e14, allow_inf_nan=False), AfterValidator(_of_money)]
Day = Annotated[dt.date, BeforeValidator(_day)]
WHOLE = BeforeValidator(_whole)
Id = Annotated[int, Field(ge=1, lt=2**63), WHOLE]


class Body(BaseModel):
    """What a caller sends: an unknown field, or a value of another type, is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RawFields(Body):
    """What is known of a transaction; every field may be missing. Money out is negative.

    What is given wins over what would be derived: `dow` over the weekday of `date`, for example.
    An `abs_amount` without an `amount` is taken as a purchase.
    """

    merchant: Text | None = None
    description: Text | None = None
    norm_desc: Text | None = None
    amount: Amount | None = None
    abs_amount: Amount | None = None
    currency: Currency | None = None
    date: Day | None = None
    dow: Annotated[int, Field(ge=0, le=6, description="0 is Monday"), WHOLE] | None = None
    is_weekend: bool | None = None
    hour_of_day: Annotated[int, Field(ge=0, le=23), WHOLE] | None = None
    channel: Channel | None = None
    is_subscription: bool | None = None
    mcc: Mcc | None = None
    account: Identity | None = None
    user_id: Identity | None = None


class StoredTransaction(Body):
    """A transaction that the service has."""

    txn_id: Id


def _form(value: Any) -> str:
    return "stored" if isinstance(value, dict) and "txn_id" in value else "raw"


PredictRequest = Annotated[
    Annotated[RawFields, Tag("raw")] | Annotated[StoredTransaction, Tag("stored")],
    Discriminator(_form),
]


class PredictBatchRequest(Body):
    """Rows are checked one by one: a bad one is an error in its place, the others are answered."""

    rows: Annotated[list[Any], Field(max_length=ITEMS_MAX)]


class FeaturesRequest(Body):
    """Which transactions to build features of; only what is new or has changed is built."""

    days: Annotated[int, Field(ge=0, le=36_500, description="counted back from today"), WHOLE] = 180
    all: bool = False


class TrainRequest(Body):
    """What to train on, and whether the version may go live."""

    limit: (
        Annotated[int, Field(ge=2, le=10**9, description="the newest so many labels"), WHOLE] | None
    ) = None
    deploy: Literal["gate", "never"] = "gate"


class WhyRequest(Body):
    """Why, for the history."""

    why: Reason = ""


class TransactionItem(Body):
    """One transaction, known by its `external_id`. Money out is negative, money in positive."""

    external_id: Identity
    date: Day
    amount: Amount
    currency: Currency | None = None
    user_id: Identity | None = None
    merchant: Text | None = None
    description: Text | None = None
    channel: Channel | None = None
    account: Identity | None = None
    mcc: Mcc | None = None
    hour_of_day: Annotated[int, Field(ge=0, le=23), WHOLE] | None = None
    deleted: bool = False


class TransactionsRequest(Body):
    """Items are checked one by one: bad ones are told, and the others are stored."""

    transactions: Annotated[list[Any], Field(max_length=ITEMS_MAX)]


class LabelItem(Body):
    """What one transaction is, by its `txn_id` or its `external_id`."""

    txn_id: Id | None = None
    external_id: Identity | None = None
    label: Label
    source: LabelSource = Field(default=LabelSource.HUMAN, strict=False)

    @model_validator(mode="after")
    def _one_id(self) -> Self:
        if (self.txn_id is None) == (self.external_id is None):
            raise PydanticCustomError("one_id", "Give exactly one of txn_id and external_id")
        return self


class LabelsRequest(Body):
    """Items are checked one by one: bad ones are told, and the others are stored."""

    labels: Annotated[list[Any], Field(max_length=ITEMS_MAX)]


class JobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    kind: Literal[JobKind.FEATURES, JobKind.TRAIN] | None = None
    state: JobState | None = None


class Answer(BaseModel):
    """What the service sends."""

    model_config = ConfigDict(extra="allow")


class FieldProblem(Answer):
    field: str
    message: str


class Problem(Answer):
    """RFC 9457. `code` is stable; `errors` names the fields of bad input."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] = []


class Scored(Answer):
    label: str
    confidence: Annotated[float, Field(ge=0, le=1)]


class ModelName(Answer):
    run_id: str


class Prediction(Answer):
    """`available` is false, and everything else is missing, while no model is deployed."""

    available: bool
    label: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    alternatives: list[Scored] = []
    model: ModelName | None = None


class ItemProblem(Answer):
    code: str
    detail: str
    errors: list[FieldProblem] = []


class PredictionOrProblem(Answer):
    available: bool | None = None
    label: str | None = None
    confidence: float | None = None
    alternatives: list[Scored] = []
    model: ModelName | None = None
    error: ItemProblem | None = None


class PredictBatchAnswer(Answer):
    """In the order of the rows."""

    results: list[PredictionOrProblem]


class Asked(Answer):
    """A job was asked for; follow `status_url`."""

    job_id: str
    kind: JobKind
    state: JobState
    status_url: str


class Progress(Answer):
    phase: str | None
    done: int
    total: int
    percent: Annotated[float, Field(ge=0, le=100)]


class Job(Answer):
    job_id: str
    kind: JobKind
    state: JobState
    requested_by: str
    reason: str | None = Field(None, description="why it was asked for, where nobody asked")
    attempt: int
    progress: Progress
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None


class Jobs(Answer):
    jobs: list[Job]


class ModelStatus(Answer):
    """`meta` is empty before the first model."""

    available: bool
    meta: dict[str, Any]


class Deploy(Answer):
    """One move of the pointer."""

    sequence: int
    run_id: str
    previous: str | None
    by: str
    why: str
    at: str
    action: Literal["deploy", "rollback"]


class Version(Answer):
    run_id: str
    created_at: str
    live: bool
    problem: str | None
    val_f1_macro: float | None
    val_accuracy: float | None
    gate: dict[str, Any] | None
    deploys: list[Deploy]


class Models(Answer):
    models: list[Version]


class VersionWithReport(Version):
    report: dict[str, Any] | None


class StoredItems(Answer):
    inserted: int
    updated: int
    unchanged: int
    errors: list[dict[str, Any]]


class Health(Answer):
    status: str


class Check(Answer):
    ok: bool
    detail: str | None
    seconds: float


class Readiness(Answer):
    """`degraded` still answers predictions from raw fields."""

    status: Literal["ok", "degraded"]
    checks: dict[str, Check]


def parse(adapter: TypeAdapter[T], *, empty: str = "") -> T:
    """The request's body, checked.

    Args:
        empty: what an empty body stands for, as JSON; without it a body is needed.

    Raises:
        WrongContentType, InvalidInput, TooLarge: the body is not as it should be.
    """
    body = whole_body()
    if not body.strip() and empty:
        body = empty.encode()
    elif request.mimetype != "application/json":
        raise WrongContentType("Send JSON, with Content-Type: application/json")
    with _one_large if len(body) > LARGE_BYTES else nullcontext():
        try:
            return adapter.validate_json(body)
        except ValidationError as error:
            wrong = invalid(error)
    raise wrong  # outside, or it would keep the other error with all that the body held


def whole_body() -> bytes:
    """The request's body; TooLarge if it is not all of it."""
    body = request.get_data(cache=False)
    if request.content_length is None and len(body) == request.max_content_length:
        # A body sent in chunks is cut there without a word; what is left may even be valid.
        raise TooLarge("The body is larger than the server takes")
    return body


def parse_query(model: type[Q]) -> Q:
    """The parameters after the question mark, checked.

    Raises:
        InvalidInput: one is not as it should be.
    """
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidInput:
    """What pydantic found, in the words of the API; the values themselves are not repeated."""
    if (count := error.error_count()) > ERRORS_MAX:
        message = f"{count} errors, more than the {ERRORS_MAX} that are told"
        return InvalidInput("The input is not as expected", [FieldError("(body)", message)])
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        FieldError(_path(item["loc"]), item["msg"].removeprefix("Value error, ")) for item in found
    ]
    if any(item["type"] == "json_invalid" for item in found):
        return InvalidInput(f"The body is not JSON: {errors[0].message}", errors)
    if any(item["type"] == "too_long" and _path(item["loc"]).isidentifier() for item in found):
        return TooLarge(f"At most {ITEMS_MAX} items in a request", errors)
    return InvalidInput("The input is not as expected; see errors", errors)


def _path(location: tuple[int | str, ...]) -> str:
    """`rows[3].amount`; the form of a union is no part of what the caller sent."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step not in ("raw", "stored"):
            text += f".{step}" if text else step
    return text or "(body)"


def as_json(value: Any) -> bytes:
    """A value of a body that was read as JSON, as JSON again, to be checked by itself."""
    return json.dumps(value).encode()
