"""The tables, as other tools query them. What a row means stands on its class."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
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
    """Every table of the service."""


class LabelSource(enum.StrEnum):
    """Who said what a transaction is."""

    HUMAN = "human"
    IMPORT = "import"
    RULE = "rule"


class JobKind(enum.StrEnum):
    """What a job does. A features_range is one range of ids of a features job, its parent."""

    FEATURES = "features"
    FEATURES_RANGE = "features_range"
    TRAIN = "train"
    RULES = "rules"
    SUGGEST = "suggest"
    DRIFT = "drift"
    IMPORT = "import"


class Arm(enum.StrEnum):
    """Which suggester may answer a user: rules and memory alone, or the model beside them."""

    RULES = "rules"
    MODEL = "model"
    CHALLENGER = "challenger"


class Action(enum.StrEnum):
    """What a person says to a suggestion."""

    ACCEPT = "accept"
    CORRECT = "correct"
    REJECT = "reject"


class JobState(enum.StrEnum):
    """Where a job stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _closed_set(kind: type[enum.StrEnum], name: str) -> Enum:
    """A closed set of words, kept as text with a check: psql reads and writes it plainly."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=20,
        values_callable=lambda members: [member.value for member in members],
    )


# What features_of reads of a transaction: each column with its immutable text form. A new column of
# that kind is added here, to Transaction and to RawTransaction; all else follows from this list.
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
# A row whose hash differs from the one its features were built from is built again, whoever
# changed it.
CONTENT_HASH = "hashtextextended(" + " || E'\\x1f' || ".join(TRANSACTION_CONTENT.values()) + ", 0)"


class Transaction(Base):
    """One movement on an account as the bank told it. Money out is negative, money in positive."""

    __tablename__ = "transactions"
    __table_args__ = (
        Index("ix_transactions_date", "date"),
        Index("ix_transactions_user", "user_id", "date", "id"),
        Index("ix_transactions_deleted", "id", postgresql_where=text("deleted_at IS NOT NULL")),
        CheckConstraint("hour_of_day BETWEEN 0 AND 23", name="ck_transactions_hour"),
        CheckConstraint("amount <> 'NaN'", name="ck_transactions_amount"),
        CheckConstraint("date BETWEEN '0001-01-01' AND '9999-12-31'", name="ck_transactions_date"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    external_id: Mapped[str | None] = mapped_column(Text, unique=True)
    user_id: Mapped[str | None] = mapped_column(Text)
    date: Mapped[dt.date]
    amount: Mapped[Decimal] = mapped_column(Numeric(18, 4))
    currency: Mapped[str] = mapped_column(String(3), server_default=text("''"))
    merchant: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    channel: Mapped[str | None] = mapped_column(Text)
    account: Mapped[str | None] = mapped_column(Text)
    mcc: Mapped[str | None] = mapped_column(String(4))
    hour_of_day: Mapped[int | None] = mapped_column(SmallInteger)
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    updated_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    content_hash: Mapped[int] = mapped_column(BigInteger, Computed(CONTENT_HASH, persisted=True))


class TransactionLabel(Base):
    """What a transaction is, and by whom. One row a transaction: a newer label replaces it."""

    __tablename__ = "transaction_labels"

    txn_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("transactions.id", ondelete="CASCADE"), primary_key=True
    )
    label: Mapped[str] = mapped_column(String(LABEL_MAX), index=True)
    source: Mapped[LabelSource] = mapped_column(_closed_set(LabelSource, "ck_labels_source"))
    created_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    updated_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), index=True
    )


class MlFeatures(Base):
    """features_of one transaction, stored. Amounts are doubles: they come back bit for bit."""

    __tablename__ = "ml_features"
    __table_args__ = (Index("ix_ml_features_user_merchant", "user_id", "merchant", "date"),)

    txn_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("transactions.id", ondelete="CASCADE"), primary_key=True
    )
    date: Mapped[dt.date]
    ts_month: Mapped[dt.date] = mapped_column(index=True)
    amount: Mapped[float]
    abs_amount: Mapped[float]
    currency: Mapped[str] = mapped_column(Text)
    line: Mapped[str] = mapped_column(Text)
    merchant: Mapped[str] = mapped_column(Text)
    norm_desc: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    dow: Mapped[int] = mapped_column(SmallInteger)
    is_weekend: Mapped[bool]
    hour_of_day: Mapped[int] = mapped_column(SmallInteger)
    is_subscription: Mapped[bool]
    is_p2p: Mapped[bool]
    mcc: Mapped[str] = mapped_column(Text)
    account: Mapped[str] = mapped_column(Text)
    user_id: Mapped[str] = mapped_column(Text)
    content_hash: Mapped[int] = mapped_column(BigInteger)
    feature_version: Mapped[int] = mapped_column(SmallInteger)
    built_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )


class RuleSet(Base):
    """A version of the ordered rules of one user, or of everyone; the newest one counts."""

    __tablename__ = "rule_sets"

    user_id: Mapped[str] = mapped_column(Text, primary_key=True)  # '': everyone's
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    rules: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    updated_by: Mapped[str] = mapped_column(Text)
    updated_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )


class MerchantPrior(Base):
    """What several users call a merchant, counted anew each night; fewer users are left out."""

    __tablename__ = "merchant_priors"

    merchant: Mapped[str] = mapped_column(Text, primary_key=True)
    label: Mapped[str] = mapped_column(String(LABEL_MAX), primary_key=True)
    users: Mapped[int]
    of_users: Mapped[int]  # who have labelled this merchant at all


class Suggestion(Base):
    """What was suggested for a transaction, by what and in which arm, and what became of it."""

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
    user_id: Mapped[str] = mapped_column(Text)  # '': none is known
    txn_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("transactions.id", ondelete="CASCADE")
    )
    merchant: Mapped[str] = mapped_column(Text)  # cleaned
    label: Mapped[str | None] = mapped_column(String(LABEL_MAX))  # None: the answer was "ask"
    confidence: Mapped[float]
    source: Mapped[str] = mapped_column(Text)
    layer: Mapped[str] = mapped_column(Text)
    alternatives: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    reasons: Mapped[list[str]] = mapped_column(JSONB)
    arm: Mapped[Arm] = mapped_column(_closed_set(Arm, "ck_suggestions_arm"))
    forced: Mapped[bool]  # the caller named the arm: no evidence of anything
    model_version: Mapped[str | None] = mapped_column(Text)
    # The shadow comparison: what each would have said alone.
    rules_label: Mapped[str | None] = mapped_column(String(LABEL_MAX))
    model_label: Mapped[str | None] = mapped_column(String(LABEL_MAX))
    # What the person says of it now; every step is in suggestion_answers.
    answer: Mapped[Action | None] = mapped_column(_closed_set(Action, "ck_suggestions_answer"))
    answer_label: Mapped[str | None] = mapped_column(String(LABEL_MAX))
    answered_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )


class SuggestionAnswer(Base):
    """One answer to a suggestion, with what it replaced, so that it can be undone exactly."""

    __tablename__ = "suggestion_answers"
    __table_args__ = (Index("ix_suggestion_answers_merchant", "user_id", "merchant"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    suggestion_id: Mapped[str] = mapped_column(
        ForeignKey("suggestions.id", ondelete="CASCADE"), index=True
    )
    user_id: Mapped[str] = mapped_column(Text)
    merchant: Mapped[str] = mapped_column(Text)
    action: Mapped[Action] = mapped_column(_closed_set(Action, "ck_answers_action"))
    label: Mapped[str | None] = mapped_column(String(LABEL_MAX))  # chosen, or rejected
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)  # the label that was there
    undone_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )


class RolloutChange(Base):
    """Who gets which arm from this change on; the newest row counts, the others are history."""

    __tablename__ = "rollout_changes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    canary: Mapped[float]  # share of users in the model arm, 0..1
    challenger: Mapped[str | None] = mapped_column(Text)  # run_id of the version on trial
    trial: Mapped[float]  # share of users in the challenger arm, 0..1
    action: Mapped[str] = mapped_column(Text)  # canary, trial, promote, drop, guardrail
    by: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class DriftReport(Base):
    """A week of traffic beside the reference of the version that was live then."""

    __tablename__ = "drift_reports"
    __table_args__ = (UniqueConstraint("run_id", "window_end", name="uq_drift_reports"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[str] = mapped_column(Text)
    window_start: Mapped[dt.date]
    window_end: Mapped[dt.date]  # the first day after it
    rows: Mapped[int]  # looked at
    checks: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # see worker/drift/comparison.py
    alarm: Mapped[bool]  # of any check
    estimated_accuracy: Mapped[float | None]  # without a label
    labelled: Mapped[int] = mapped_column(server_default=text("0"))  # labels that came since
    accuracy: Mapped[float | None]  # on those
    created_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), index=True
    )


class Job(Base):
    """A request for work and all that became of it; the truth, where a message is only a hint.

    A running job is held by one worker through a lease: `lease_until` is renewed while it works,
    and `token` changes with every claim, so a worker that lost its lease can write nothing more.
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
    params: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    requested_by: Mapped[str] = mapped_column(Text)
    parent_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    idempotency_key: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    phase: Mapped[str | None] = mapped_column(Text)
    done: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    sent_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    started_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))


class Import(Base):
    """A file that was brought to the page; it goes thirty days after it came."""

    __tablename__ = "imports"

    # A digest of the user, the file and what was said about it: the same again is the same import.
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(Text, index=True)  # '': none was named
    name: Mapped[str] = mapped_column(Text)  # of the file
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)  # packed, as all of these
    placed: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)  # lines and their ids
    rejects: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)  # a CSV file
    created_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), index=True
    )


class Deletion(Base):
    """That a user was deleted, not who; versions that may have learned from him retire by it."""

    __tablename__ = "deletions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    known_since: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    deleted_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp()
    )


class Heartbeat(Base):
    """The last sign of life of the beat, or of whoever takes the messages of one queue."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(Text, primary_key=True)  # beat, or a queue
    sent_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[dt.datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
