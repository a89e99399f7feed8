"""What traffic looks like: counts by week of each feature and of what a model says of it.

A version keeps the counts of the weeks before it was trained, as its reference; the drift job
counts the last week in the same way, and worker/drift/comparison.py compares them. No merchant and
no text is in them.
"""

from __future__ import annotations

import datetime as dt
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple, Self

from sqlalchemy import Engine, text

from shared.features.extract import FeatureRow
from shared.model.classifier import Model, Prediction

FILE = "reference.json"  # among the files of a version
WEEK = dt.timedelta(days=7)
WEEKS = 13  # of a reference
NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
SAMPLE = 20_000  # rows that are looked at, about
_PAGE = 2_000
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
    """Days, from *first* up to but not including *last*."""

    first: dt.date
    last: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceProfile:
    """What traffic looked like to a version.

    Attributes:
        inputs: the weeks before training, the earliest first; the features of each.
        answers: those of them that the judged model had not learned from, and what it said.
        accuracy, confidence: of the judged rows: how many it got right, and how sure it was.
    """

    inputs: tuple[Counts, ...]
    answers: tuple[Counts, ...]
    accuracy: float
    confidence: float

    def to_file(self) -> bytes:
        """JSON that `from_file` reads."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """What `to_file` gave."""
        plain = json.loads(data)
        inputs, answers = tuple(plain.pop("inputs")), tuple(plain.pop("answers"))
        return cls(inputs=inputs, answers=answers, **plain)


def inputs_of(row: FeatureRow, *, is_new: bool) -> Iterator[tuple[str, str]]:
    """The bin of each check of the features; `new_merchant` is of the user and the merchant."""
    size = row.abs_amount
    yield "amount", "none" if size is None else str(bisect_right(_AMOUNTS, size))
    sign = "none" if not row.amount else "in" if row.amount > 0 else "out"
    yield "direction", sign
    yield "channel", row.channel
    yield "weekend", str(row.is_weekend)  # days apart would make each holiday an alarm
    yield "hour", "none" if row.hour_of_day < 0 else str(row.hour_of_day // 6)
    yield "subscription", str(row.is_subscription)
    yield "currency", row.currency or "none"
    yield "words", str(min(len(row.line.split()), _WORDS_MAX))
    yield "new_merchant", str(is_new)


def answers_of(prediction: Prediction) -> Iterator[tuple[str, str]]:
    """The bin of each check of what a model said."""
    yield "category", prediction.label
    yield "confidence", str(min(int(prediction.confidence * 10), 9))


class WindowProfile(NamedTuple):
    """What was counted over a span, by whole weeks from its end back, the earliest first."""

    inputs: list[Counts]
    answers: list[Counts]
    rows: int
    confidence: float | None  # mean of the answers; None without any


def newest_date(engine: Engine) -> dt.date | None:
    """The first day after the newest whole one with transactions; None without any.

    Who imports his statements once a month has a last week, too.
    """
    with engine.connect() as connection:
        today = dt.datetime.now(dt.UTC).date()
        newest = connection.execute(_END, {"today": today}).scalar_one()
    return newest + dt.timedelta(days=1) if newest else None


def profile(
    engine: Engine,
    span: DateRange,
    model: Model,
    *,
    answers_from: dt.date = dt.date.min,
    learned: dt.datetime = NEVER,
) -> WindowProfile:
    """Count a sample of the rows of *span*, of at most about SAMPLE rows.

    Args:
        model: asked what it says of the rows from *answers_from* on that were not labelled by the
            time *learned*: of what it has learned from it would be too sure.
    """
    weeks = max((span.last - span.first) // WEEK, 1)
    inputs = [defaultdict[str, Counter[str]](Counter) for _ in range(weeks)]
    answers = [defaultdict[str, Counter[str]](Counter) for _ in range(weeks)]
    rows, sure, said = 0, 0.0, 0
    for page in _pages(engine, span, learned):
        asked = []
        for row, is_new, is_learned in page:
            assert row.date is not None  # noqa: S101  the column has none
            week = weeks - 1 - (span.last - row.date - dt.timedelta(days=1)) // WEEK
            if week < 0:
                continue
            rows += 1
            _count(inputs[week], inputs_of(row, is_new=is_new))
            if row.date >= answers_from and not is_learned:
                asked.append((week, row))
        told = model.predict_many([row for _, row in asked])
        for (week, _), prediction in zip(asked, told, strict=True):
            _count(answers[week], answers_of(prediction))
            sure, said = sure + prediction.confidence, said + 1
    return WindowProfile(
        [_plain(week) for week in inputs],
        [_plain(week) for week in answers],
        rows,
        sure / said if said else None,
    )


def build_reference(
    engine: Engine,
    model: Model,
    *,
    learned_through: dt.date,
    predictions: Sequence[Prediction],
    right: Sequence[bool],
) -> ReferenceProfile:
    """The reference of a version: the WEEKS weeks before the newest one of traffic.

    The newest is left out: it is what the reference is first compared with.

    Args:
        model: the judged one, which has learned from nothing after *learned_through*.
        predictions, right: what it said of the judged rows.
    """
    last = (newest_date(engine) or dt.datetime.now(dt.UTC).date()) - WEEK
    span = DateRange(last - WEEKS * WEEK, last)
    seen = profile(engine, span, model, answers_from=learned_through + dt.timedelta(days=1))
    n = max(len(right), 1)
    return ReferenceProfile(
        inputs=tuple(seen.inputs),
        answers=tuple(seen.answers),
        accuracy=sum(right) / n,
        confidence=sum(it.confidence for it in predictions) / n,
    )


def _pages(
    engine: Engine, span: DateRange, learned: dt.datetime
) -> Iterator[Sequence[tuple[FeatureRow, bool, bool]]]:
    days = span._asdict()
    streaming = {"stream_results": True, "max_row_buffer": _PAGE}
    with engine.connect().execution_options(**streaming) as connection:
        count = connection.execute(_COUNT, days).scalar_one()
        found = iter(
            connection.execute(
                _ROWS, {**days, "learned": learned, "every": max(round(count / SAMPLE), 1)}
            )
        )
        while page := list(islice(found, _PAGE)):
            yield [(FeatureRow(*row[:-2]), row[-2], row[-1]) for row in page]


def _count(into: defaultdict[str, Counter[str]], bins: Iterator[tuple[str, str]]) -> None:
    for check, place in bins:
        into[check][place] += 1


def _plain(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, Any]]:
    return {check: dict(bins) for check, bins in counts.items()}
