"""The database tables, as SQLAlchemy classes; a class's docstring says what one row is.

One long file on purpose: the schema is read, and compared with the migrations, as a whole.
"""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

LABEL_MAX = 80  # characters of a category name


class Base(DeclarativeBase):
    """Base of all tables: which column type each Python type gets."""

    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it from the class
        str: Text,
        dt.datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
        list[str]: JSONB,
    }


Identifier = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
TransactionId = Annotated[int, mapped_column(ForeignKey("transactions.id", ondelete="CASCADE"))]
Label = Annotated[str, mapped_column(String(LABEL_MAX))]
Small = Annotated[int, mapped_column(SmallInteger)]
Created = Annotated[dt.datetime, mapped_column(server_default=func.now())]


class LabelSource(enum.StrEnum):
    """Where a label comes from: a person, an imported file or a rule."""

    HUMAN = "human"
    IMPORT = "import"
    RULE = "rule"


class JobKind(enum.StrEnum):
    """What a job does. A features_range is one range of ids of its parent, a features job."""

    FEATURES = "features"
    FEATURES_RANGE = "features_range"
    TRAIN = "train"
    RULES = "rules"
    SUGGEST = "suggest"
    DRIFT = "drift"
    IMPORT = "import"


class Arm(enum.StrEnum):
    """How a user is answered: by rules and history alone, with the live model, or a challenger."""

    RULES = "rules"
    MODEL = "model"
    CHALLENGER = "challenger"


class Action(enum.StrEnum):
    """A person's answer to a suggestion."""

    ACCEPT = "accept"
    CORRECT = "correct"
    REJECT = "reject"


class JobState(enum.StrEnum):
    """The state of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _closed_set(kind: type[enum.StrEnum], name: str) -> Enum:
    """An enumeration stored as text with a CHECK constraint, so that psql shows plain words."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=20,
        values_callable=lambda members: [member.value for member in members],
    )


# The columns of a transaction that features_of reads, each with its immutable text form. A new one
# is added here, to Transaction and to RawTransaction; all else follows from this list.
TRANSACTION_CONTENT = {
    "merchant": "coalesce(merchant, '')",
    "description": "coalesce(description, '')",
    "amount": "amount::text",
    "currency": "currency",
    "date": "(date - DATE '2000-01-01')::text",  # a date itself has no immutable text form
    "channel": "coalesce(channel, '')",
    "account": "coalesce(account, '')",
    "mcc": "coalesce(mcc, '')",
    "hour_of_day": "coalesce(hour_of_day::text, '')",
    "user_id": "coalesce(user_id, '')",
}
# Features are built anew where this hash differs from the one they were built from.
CONTENT_HASH = "hashtextextended(" + " || E'\\x1f' || ".join(TRANSACTION_CONTENT.values()) + ", 0)"


class Transaction(Base):
    """One movement on an account. Money out is negative, money in positive."""

    __tablename__ = "transactions"
    __table_args__ = (
        Index("ix_transactions_date", "date"),
        Index("ix_transactions_user", "user_id", "date", "id"),
        Index("ix_transactions_deleted", "id", postgresql_where=text("deleted_at IS NOT NULL")),
        CheckConstraint("hour_of_day BETWEEN 0 AND 23", name="ck_transactions_hour"),
        CheckConstraint("amount <> 'NaN'", name="ck_transactions_amount"),
        CheckConstraint("date BETWEEN '0001-01-01' AND '9999-12-31'", name="ck_transactions_date"),
    )

    id: Mapped[Identifier]
    external_id: Mapped[str | None] = mapped_column(unique=True)
    user_id: Mapped[str | None]
    date: Mapped[dt.date]
    amount: Mapped[Decimal] = mapped_column(Numeric(18, 4))
    currency: Mapped[str] = mapped_column(String(3), server_default=text("''"))
    merchant: Mapped[str | None]
    description: Mapped[str | None]
    channel: Mapped[str | None]
    account: Mapped[str | None]
    mcc: Mapped[str | None] = mapped_column(String(4))
    hour_of_day: Mapped[Small | None]
    deleted_at: Mapped[dt.datetime | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Created]
    content_hash: Mapped[int] = mapped_column(BigInteger, Computed(CONTENT_HASH, persisted=True))


class TransactionLabel(Base):
    """The category of a transaction and its source. One row a transaction, replaced in place."""

    __tablename__ = "transaction_labels"

    txn_id: Mapped[TransactionId] = mapped_column(primary_key=True)
    label: Mapped[Label] = mapped_column(index=True)
    source: Mapped[LabelSource] = mapped_column(_closed_set(LabelSource, "ck_labels_source"))
    created_at: Mapped[Created]
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now(), index=True)


class MlFeatures(Base):
    """The stored FeatureRow of one transaction. Amounts are doubles, so they come back exactly."""

    __tablename__ = "ml_features"
    __table_args__ = (Index("ix_ml_features_user_merchant", "user_id", "merchant", "date"),)

    txn_id: Mapped[TransactionId] = mapped_column(primary_key=True)
    date: Mapped[dt.date]
    ts_month: Mapped[dt.date] = mapped_column(index=True)
    amount: Mapped[float]
    abs_amount: Mapped[float]
    currency: Mapped[str]
    line: Mapped[str]
    merchant: Mapped[str]
    norm_desc: Mapped[str]
    channel: Mapped[str]
    dow: Mapped[Small]
    is_weekend: Mapped[bool]
    hour_of_day: Mapped[Small]
    is_subscription: Mapped[bool]
    is_p2p: Mapped[bool]
    mcc: Mapped[str]
    account: Mapped[str]
    user_id: Mapped[str]
    content_hash: Mapped[int] = mapped_column(BigInteger)
    feature_version: Mapped[Small]
    built_at: Mapped[Created]


class RuleSet(Base):
    """One version of the ordered rules of a user, or the shared ones; the newest one counts."""

    __tablename__ = "rule_sets"

    user_id: Mapped[str] = mapped_column(primary_key=True)  # '': the shared rules
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    rules: Mapped[list[dict[str, Any]]]
    updated_by: Mapped[str]
    updated_at: Mapped[Created]


class MerchantPrior(Base):
    """How many users give a merchant this label, counted each night; few users are left out."""

    __tablename__ = "merchant_priors"

    merchant: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[Label] = mapped_column(primary_key=True)
    users: Mapped[int]
    of_users: Mapped[int]  # who have labelled this merchant


class Suggestion(Base):
    """A suggestion for a transaction: its layer, arm and reasons, and the person's answer."""

    __tablename__ = "suggestions"
    __table_args__ = (
        Index("ix_suggestions_created_at", "created_at"),
        Index("ix_suggestions_user", "user_id", "created_at"),
        Index(
            "ix_suggestions_answered",
            "created_at",
            postgresql_include=["arm", "answer"],
            postgresql_where=text("answer IS NOT NULL AND label IS NOT NULL AND NOT forced"),
        ),
        Index(
            "ix_suggestions_disagreeing",
            "created_at",
            postgresql_where=text("rules_label <> model_label"),
        ),
        Index("ix_suggestions_newest", "txn_id", "created_at", "id"),
        Index(
            "ix_suggestions_unsure",
            "confidence",
            "id",
            postgresql_where=text("answer IS NULL AND txn_id IS NOT NULL"),
        ),
        Index(
            "ix_suggestions_merchant",
            "merchant",
            "user_id",
            postgresql_where=text("answer IS NULL AND txn_id IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str]  # '': unknown
    txn_id: Mapped[TransactionId | None]
    merchant: Mapped[str]  # cleaned
    label: Mapped[Label | None]  # None: the person is asked
    confidence: Mapped[float]
    source: Mapped[str]
    layer: Mapped[str]
    alternatives: Mapped[list[dict[str, Any]]]
    reasons: Mapped[list[str]]
    arm: Mapped[Arm] = mapped_column(_closed_set(Arm, "ck_suggestions_arm"))
    forced: Mapped[bool]  # the caller chose the arm: not evidence for an experiment
    model_version: Mapped[str | None]
    # The shadow comparison: the label that each would give alone.
    rules_label: Mapped[Label | None]
    model_label: Mapped[Label | None]
    # The person's present answer; every step is in suggestion_answers.
    answer: Mapped[Action | None] = mapped_column(_closed_set(Action, "ck_suggestions_answer"))
    answer_label: Mapped[Label | None]
    answered_at: Mapped[dt.datetime | None]
    created_at: Mapped[Created]


class SuggestionAnswer(Base):
    """One answer to a suggestion, with what it replaced, so that it can be undone exactly."""

    __tablename__ = "suggestion_answers"
    __table_args__ = (Index("ix_suggestion_answers_merchant", "user_id", "merchant"),)

    id: Mapped[Identifier]
    suggestion_id: Mapped[str] = mapped_column(
        ForeignKey("suggestions.id", ondelete="CASCADE"), index=True
    )
    user_id: Mapped[str]
    merchant: Mapped[str]
    action: Mapped[Action] = mapped_column(_closed_set(Action, "ck_answers_action"))
    label: Mapped[Label | None]  # chosen, or rejected
    before: Mapped[dict[str, Any] | None]  # the label that was there
    undone_at: Mapped[dt.datetime | None]
    created_at: Mapped[Created]


class RolloutChange(Base):
    """A traffic split, valid until the next row; the older rows are its history."""

    __tablename__ = "rollout_changes"

    id: Mapped[Identifier]
    canary: Mapped[float]  # share of the users without a trial in the model arm, 0..1
    challenger: Mapped[str | None]  # run_id of the version on trial
    trial: Mapped[float]  # share of users in the challenger arm, 0..1
    action: Mapped[str]  # canary, trial, promote, drop, guardrail
    by: Mapped[str]
    why: Mapped[str]
    at: Mapped[Created]


class DriftReport(Base):
    """A week of traffic compared with the reference profile of the version that was live."""

    __tablename__ = "drift_reports"
    __table_args__ = (UniqueConstraint("run_id", "window_end", name="uq_drift_reports"),)

    id: Mapped[Identifier]
    run_id: Mapped[str]
    window_start: Mapped[dt.date]
    window_end: Mapped[dt.date]  # the first day after it
    rows: Mapped[int]  # compared
    checks: Mapped[list[dict[str, Any]]]  # see worker/drift/comparison.py
    alarm: Mapped[bool]  # of any check
    estimated_accuracy: Mapped[float | None]  # from the confidences, without labels
    labelled: Mapped[int] = mapped_column(server_default=text("0"))  # rows labelled since
    accuracy: Mapped[float | None]  # on the labelled rows
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now(), index=True)


class Job(Base):
    """A request for work, its progress and its result; a message only carries its id.

    One worker holds the lease of a running job: `lease_until` is renewed while it works, and
    `token` changes with every claim, so that a worker that lost its lease can write nothing more.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "uq_jobs_one_training",
            "kind",
            unique=True,
            postgresql_where=text("kind = 'train' AND state IN ('queued', 'running')"),
        ),
        Index(
            "uq_jobs_idempotency_key",
            "kind",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(
            "ix_jobs_open",
            "state",
            "kind",
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_jobs_created_at", "created_at"),
        Index(
            "ix_jobs_ended",
            "kind",
            "state",
            postgresql_include=["created_at", "started_at", "finished_at"],
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[JobKind] = mapped_column(_closed_set(JobKind, "ck_jobs_kind"))
    state: Mapped[JobState] = mapped_column(
        _closed_set(JobState, "ck_jobs_state"), server_default=text("'queued'")
    )
    params: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    requested_by: Mapped[str]
    parent_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    idempotency_key: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    phase: Mapped[str | None]
    done: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[dt.datetime | None]
    sent_at: Mapped[dt.datetime | None]
    created_at: Mapped[Created]
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]


class Import(Base):
    """An uploaded statement; it is deleted after thirty days."""

    __tablename__ = "imports"

    # A digest of user, file and options: the same upload again is the same import.
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(index=True)  # '': unknown
    name: Mapped[str]  # of the file
    options: Mapped[dict[str, Any]]
    content: Mapped[bytes] = mapped_column(deferred=True)  # compressed, like the two below
    placed: Mapped[bytes | None] = mapped_column(deferred=True)  # rows and their ids
    rejects: Mapped[bytes | None] = mapped_column(deferred=True)  # a CSV file
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now(), index=True)


class Deletion(Base):
    """That some user was deleted; versions that may have learned from them retire by it."""

    __tablename__ = "deletions"

    id: Mapped[Identifier]
    known_since: Mapped[dt.datetime]
    deleted_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class Heartbeat(Base):
    """The last sign of life of the beat, or of the consumers of one queue."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)  # beat, or a queue
    sent_at: Mapped[dt.datetime]
    received_at: Mapped[Created]
