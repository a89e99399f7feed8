"""Profile of a week of traffic: counts by bin of each feature and of a model's predictions.

A version is stored with the profiles of the weeks before its training, its reference. The drift job
counts the last week in the same way, and worker/drift/comparison.py compares them. A profile holds
no merchant and no text.
"""

from __future__ import annotations

import datetime as dt
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self

from sqlalchemy import Engine, text

from shared.features.extract import FeatureRow
from shared.model.classifier import Model, Prediction
from shared.model.spellings import OWN, fold_label

FILE = "reference.json"  # among the files of a version
DAY, WEEK = dt.timedelta(days=1), dt.timedelta(days=7)
WEEKS = 13  # of a reference
NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
SAMPLE = 20_000  # rows that are counted, about
_AMOUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_WORDS_MAX = 6

Counts = dict[str, dict[str, int]]  # by check and bin

_ROWS = text(
    f"""
    SELECT {", ".join(f"f.{name}" for name in FeatureRow._fields)}, NOT EXISTS (
        SELECT FROM ml_features AS earlier
        WHERE earlier.user_id = f.user_id AND earlier.merchant = f.merchant
            AND (earlier.date, earlier.txn_id) < (f.date, f.txn_id)
    ) AS is_new, EXISTS (
        SELECT FROM transaction_labels AS l
        WHERE l.txn_id = f.txn_id AND l.updated_at <= :learned
    ) AS is_learned
    FROM ml_features AS f
    WHERE f.date >= :first AND f.date < :last AND f.txn_id % :every = 0
    ORDER BY f.date
    """  # noqa: S608  our own names
)
_END = text("SELECT max(date) FROM ml_features WHERE date < :today")
_COUNT = text("SELECT count(*) FROM ml_features WHERE date >= :first AND date < :last")


class DateRange(NamedTuple):
    """Days from *first* up to but not including *last*."""

    first: dt.date
    last: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProfile:
    """The profiles of the weeks before a training run, the earliest first."""

    inputs: tuple[Counts, ...]  # of the features
    answers: tuple[Counts, ...]  # of the model's predictions for rows it was not trained on
    accuracy: float  # of its predictions in the evaluation
    confidence: float  # their mean

    def to_file(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` gave."""
        plain = json.loads(data)
        tuples = {name: tuple(plain[name]) for name in ("inputs", "answers")}
        return cls(**{**plain, **tuples})


def inputs_of(row: FeatureRow, *, is_new: bool) -> Iterator[tuple[str, str]]:
    """The bin of each feature check; *is_new*: the user's first row of the merchant."""
    size = row.abs_amount
    yield "amount", "none" if size is None else str(bisect_right(_AMOUNTS, size))
    yield "direction", "none" if not row.amount else "in" if row.amount > 0 else "out"
    yield "channel", row.channel
    yield "weekend", str(row.is_weekend)  # days apart would make each holiday an alarm
    yield "hour", "none" if row.hour_of_day < 0 else str(row.hour_of_day // 6)
    yield "subscription", str(row.is_subscription)
    yield "currency", row.currency or "none"
    yield "words", str(min(len(row.line.split()), _WORDS_MAX))
    yield "new_merchant", str(is_new)


def answers_of(prediction: Prediction, open_labels: Collection[str]) -> Iterator[tuple[str, str]]:
    """The bin of each check of a prediction; what one user calls things is not named."""
    is_open = prediction.label in open_labels
    yield "category", prediction.label if is_open else OWN if prediction.label else "none"
    yield "confidence", str(min(int(prediction.confidence * 10), 9))


class WindowProfile(NamedTuple):
    """The counts of a date range, by whole weeks from its end back, the earliest first."""

    inputs: list[Counts]
    answers: list[Counts]
    rows: int
    confidence: float | None  # mean of the predictions; None without any


def newest_date(engine: Engine) -> dt.date | None:
    """The first day after the newest whole one with transactions; None without any.

    Not today: users who import their statements once a month have a last week, too.
    """
    with engine.connect() as connection:
        today = dt.datetime.now(dt.UTC).date()
        newest = connection.execute(_END, {"today": today}).scalar_one()
    return newest + DAY if newest else None


def profile(
    engine: Engine,
    span: DateRange,
    model: Model,
    *,
    answers_from: dt.date = dt.date.min,
    learned: dt.datetime = NEVER,
) -> WindowProfile:
    """Count a sample of about SAMPLE rows of *span*.

    Args:
        model: predicts for the rows from *answers_from* on that had no label at the time *learned*:
            for rows that it was trained on it would be too confident.
    """
    with engine.connect() as connection:
        days = span._asdict()
        every = max(round(connection.execute(_COUNT, days).scalar_one() / SAMPLE), 1)
        records = connection.execute(_ROWS, {**days, "learned": learned, "every": every}).all()
    weeks = max((span.last - span.first) // WEEK, 1)
    inputs, answer_weeks, unlearned = [], [], []
    for *values, is_new, is_learned in records:
        row = FeatureRow(*values)
        assert row.date is not None  # noqa: S101  the query finds none
        week = weeks - 1 - (span.last - row.date - DAY) // WEEK
        if week >= 0:
            inputs.append((week, inputs_of(row, is_new=is_new)))
            if row.date >= answers_from and not is_learned:
                answer_weeks.append(week)
                unlearned.append(row)
    predictions = model.predict_many(unlearned)
    open_labels = frozenset(model.open_labels)
    answers = (answers_of(prediction, open_labels) for prediction in predictions)
    return WindowProfile(
        _count(inputs, weeks),
        _count(zip(answer_weeks, answers, strict=True), weeks),
        len(inputs),
        _mean_confidence(predictions) if predictions else None,
    )


def build_reference(
    engine: Engine,
    model: Model,
    learned_rows: Iterable[FeatureRow],
    predictions: Sequence[Prediction],
    truth: Iterable[str],
) -> ReferenceProfile:
    """Count the WEEKS weeks before the newest one, with which the reference is first compared.

    Args:
        model: the evaluated one, trained on *learned_rows*.
        predictions, truth: of the evaluation, the labels of its rows.
    """
    last = (newest_date(engine) or dt.datetime.now(dt.UTC).date()) - WEEK
    span = DateRange(last - WEEKS * WEEK, last)
    learned_through = max(row.date for row in learned_rows if row.date)
    window = profile(engine, span, model, answers_from=learned_through + DAY)
    pairs = zip(predictions, truth, strict=True)
    right = sum(fold_label(it.label) == fold_label(label) for it, label in pairs)
    return ReferenceProfile(
        inputs=tuple(window.inputs),
        answers=tuple(window.answers),
        accuracy=right / max(len(predictions), 1),
        confidence=_mean_confidence(predictions),
    )


def _count(rows: Iterable[tuple[int, Iterator[tuple[str, str]]]], weeks: int) -> list[Counts]:
    counts = [defaultdict[str, Counter[str]](Counter) for _ in range(weeks)]
    for week, bins in rows:
        for check, name in bins:
            counts[week][check][name] += 1
    return [{check: dict(bins) for check, bins in week.items()} for week in counts]


def _mean_confidence(predictions: Sequence[Prediction]) -> float:
    return sum(it.confidence for it in predictions) / max(len(predictions), 1)
