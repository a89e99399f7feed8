"""Pydantic models of requests and answers, which also make the OpenAPI document."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.db.tables import LABEL_MAX, JobKind, JobState, LabelSource

ITEMS_MAX = 1_000
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _whole(value: Any) -> Any:
    """JSON has one kind of number, so 2.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _day(value: Any) -> dt.date:
    """YYYY-MM-DD only: pydantic would also accept a Unix time in quotes."""
    is_written_so = isinstance(value, str) and _DAY.fullmatch(value)
    try:
        return dt.date.fromisoformat(value if is_written_so else "")
    except ValueError:  # also the 30th of February
        raise PydanticCustomError("date", "Input should be a date, as YYYY-MM-DD") from None


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
Whole = BeforeValidator(_whole)
Id = Annotated[int, Field(ge=1, lt=2**63), Whole]


class Body(BaseModel):
    """Base of request bodies: an unknown field, or a value of another type, is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RawFields(Body):
    """A transaction by its raw fields; each may be missing. Money out is negative.

    A given field wins over a derived one, such as `dow` over the weekday of `date`.
    An `abs_amount` without an `amount` is taken as a purchase.
    """

    merchant: Text | None = None
    description: Text | None = None
    norm_desc: Text | None = None
    amount: Amount | None = None
    abs_amount: Amount | None = None
    currency: Currency | None = None
    date: Day | None = None
    dow: Annotated[int, Field(ge=0, le=6, description="0 is Monday"), Whole] | None = None
    is_weekend: bool | None = None
    hour_of_day: Annotated[int, Field(ge=0, le=23), Whole] | None = None
    channel: Channel | None = None
    is_subscription: bool | None = None
    mcc: Mcc | None = None
    account: Identity | None = None
    user_id: Identity | None = None


class StoredTransaction(Body):
    """A stored transaction."""

    txn_id: Id


def _form(value: Any) -> str:
    return "stored" if isinstance(value, dict) and "txn_id" in value else "raw"


PredictRequest = Annotated[
    Annotated[RawFields, Tag("raw")] | Annotated[StoredTransaction, Tag("stored")],
    Discriminator(_form),
]


class PredictBatchRequest(Body):
    """Rows are checked one by one: a bad one gets an error, and the others are answered."""

    rows: Annotated[list[Any], Field(max_length=ITEMS_MAX)]


class FeaturesRequest(Body):
    """The transactions to build features of; only new and changed ones are built."""

    days: Annotated[int, Field(ge=0, le=36_500, description="counted back from today"), Whole] = 180
    all: bool = False


class TrainRequest(Body):
    """What to train on, and whether the version may go live."""

    limit: (
        Annotated[int, Field(ge=2, le=10**9, description="the newest so many labels"), Whole] | None
    ) = None
    deploy: Literal["gate", "never"] = "gate"


class ReasonRequest(Body):
    """The reason, for the history."""

    why: Reason = ""


class TransactionItem(Body):
    """One transaction, identified by `external_id`. Money out is negative, money in positive."""

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
    hour_of_day: Annotated[int, Field(ge=0, le=23), Whole] | None = None
    deleted: bool = False


class TransactionsRequest(Body):
    """Items are checked one by one: bad ones get an error, and the others are stored."""

    transactions: Annotated[list[Any], Field(max_length=ITEMS_MAX)]


class LabelItem(Body):
    """The label of one transaction, identified by `txn_id` or `external_id`."""

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
    """Items are checked one by one: bad ones get an error, and the others are stored."""

    labels: Annotated[list[Any], Field(max_length=ITEMS_MAX)]


class Query(BaseModel):
    """Base of query parameters: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid")


class JobsQuery(Query):
    """Which jobs to list."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    kind: JobKind | None = None
    state: JobState | None = None


class UserQuery(Query):
    """Whose data."""

    user_id: Identity


# As Python writes it, with +00:00; pydantic alone would write Z.
Timestamp = Annotated[dt.datetime, PlainSerializer(dt.datetime.isoformat, when_used="unless-none")]


class Answer(BaseModel):
    """Base of answers; the tests check that no other fields are sent.

    `model_validate(value)` reads the attributes of a domain object.
    """

    model_config = ConfigDict(extra="forbid", from_attributes=True)


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
    challenger: str | None = Field(None, description="the version on trial, of `conflict`")
    dependency: str | None = Field(None, description="what does not answer, of `unavailable`")
    found: int | None = Field(None, description="labelled transactions, of `not_enough_labels`")
    needed: int | None = Field(None, description="labelled transactions, of `not_enough_labels`")
    header: list[str] | None = Field(None, description="the file's columns, of `not_a_table`")
    job_id: str | None = Field(None, description="the job that runs, of `already_running`")
    run_id: str | None = Field(None, description="the model version, of `damaged_version`")
    sequence: int | None = Field(None, description="the newest deploy, of `deploy_conflict`")


class Scored(Answer):
    label: str
    confidence: Annotated[float, Field(ge=0, le=1)]


class ModelName(Answer):
    run_id: str
    sequence: int = Field(description="the number of the deploy that made this version live")


class Prediction(Answer):
    """`available` is false, and everything else is missing, while no model is deployed.

    `label` is null, and `confidence` 0, where the model has no category that this user may be told:
    what fewer users than ML_SHARED_LABEL_USERS call something stays with them. Ask the user then.
    """

    available: bool
    label: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    alternatives: list[Scored] = []
    model: ModelName | None = None


class ItemProblem(Answer):
    code: str
    detail: str
    errors: list[FieldProblem] = []


class PredictionOrProblem(Prediction):
    """A prediction, or the error of one row."""

    available: bool | None = None  # type: ignore[assignment]  # a row with an error has none
    error: ItemProblem | None = None


class PredictBatchAnswer(Answer):
    """In the order of the rows."""

    results: list[PredictionOrProblem]


class AcceptedJob(Answer):
    """A job was queued; follow `status_url`."""

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
    reason: str | None = Field(None, description="why the service itself requested it")
    attempt: int
    progress: Progress
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


class Jobs(Answer):
    jobs: list[Job]


class ModelStatus(Answer):
    """`meta` is empty before the first model."""

    available: bool
    meta: dict[str, Any]


class Deploy(Answer):
    """One deploy or rollback."""

    sequence: int = Field(description="1 for the first deploy, then one more each time")
    run_id: str
    manifest_sha256: str
    previous: str | None = Field(description="the version that a rollback from here returns to")
    by: str
    why: str
    at: str
    action: Literal["deploy", "rollback"]


class Version(Answer):
    run_id: str
    created_at: str
    live: bool
    problem: str | None = Field(description="why it cannot be served")
    size_bytes: int
    val_f1_macro: float | None
    val_accuracy: float | None
    class_count: int | None
    baselines: dict[str, Any] | None = Field(description="the figures of each baseline, by name")
    gate: dict[str, Any] | None
    deploys: list[Deploy]


class Models(Answer):
    models: list[Version]


class VersionWithReport(Version):
    report: Mapping[str, Any] | None = Field(description="the evaluation on later transactions")
    meta: dict[str, Any] = Field(description="the version's manifest, without the report")


class StoredItemProblem(Answer):
    """Why the item at this index of the request was not stored."""

    index: int
    code: str
    errors: list[FieldProblem]


class StoredItems(Answer):
    inserted: int
    updated: int
    unchanged: int
    errors: list[StoredItemProblem]


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
