"""Reads a canonical CSV, plain or gzip, and splits it by date into what is learned and judged."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from shared.features.extract import RawTransaction

COLUMNS = ("txn_id", "date", "amount", "currency", "merchant", "description", "label")
TRAIN_SHARE = 0.8
MIN_ROWS = 20  # of a label among the training rows; a rarer one is not scored

SpendPositive = Literal["yes", "no", "auto"]
BoolArray = NDArray[np.bool_]


class Unusable(Exception):
    """The file cannot be measured; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Cases:
    """Labelled transactions, the earliest first; three lists of one length.

    Money out is negative, as everywhere in the service.

    Attributes:
        spend_positive: whether the file had it positive; None where there was no file.
    """

    txns: Sequence[RawTransaction]
    labels: Sequence[str]
    days: Sequence[dt.date]
    spend_positive: bool | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> Cases:
        """Those from *start* up to *stop*, which are no less than 0."""
        return replace(
            self,
            txns=self.txns[start:stop],
            labels=self.labels[start:stop],
            days=self.days[start:stop],
        )

    def latest(self, count: int) -> Cases:
        return self.part(max(len(self) - count, 0), len(self))

    def take(self, places: Iterable[int]) -> Cases:
        chosen = list(places)
        return replace(
            self,
            txns=[self.txns[place] for place in chosen],
            labels=[self.labels[place] for place in chosen],
            days=[self.days[place] for place in chosen],
        )

    def first_of_day(self, share: float) -> int:
        """The place of the first case of the day at which *share* of the cases are over."""
        return bisect_left(self.days, self.days[int(len(self) * share)])

    def with_top_labels(self, count: int) -> Cases:
        """Only those of the *count* most frequent labels."""
        top = {label for label, _ in Counter(self.labels).most_common(count)}
        return self.take(place for place, label in enumerate(self.labels) if label in top)


@dataclass(frozen=True, slots=True)
class Split:
    """What is learned, and what is judged.

    Attributes:
        train: learned from, the latest rows before the cut day.
        whole_train_rows: rows before the cut day.
        test_rows: rows from the cut day on.
        test: those of them whose label has MIN_ROWS rows before the cut day.
        scored: which of `test` have a label with MIN_ROWS rows in `train`, shape (n,).
        seen: which of `test` have a merchant that, as printed, is in `train`, shape (n,).
        user_rows: how many rows of the user of each of `test` are in `train`, shape (n,); None for
            a file without users.
    """

    cut_day: dt.date
    train: Cases
    whole_train_rows: int
    test_rows: int
    test: Cases
    scored: BoolArray
    seen: BoolArray
    user_rows: NDArray[np.int64] | None


def read(path: Path, spend_positive: SpendPositive = "auto") -> Cases:
    """The labelled rows of *path*, sorted by date; rows of one day stay in the file's order.

    Args:
        spend_positive: whether a positive amount is money out; "auto": whether most amounts are.

    Raises:
        Unusable: it cannot be read, or is not in canonical form.
    """
    try:
        with _opened(path) as file:
            found = sorted(_rows(file, path.name), key=lambda row: row[0])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise Unusable(f"{path.name} cannot be read: {error}") from error
    if not found:
        raise Unusable(f"{path.name} has no labelled rows")
    if spend_positive == "auto":
        positive = sum(amount > 0 for _, amount, _ in found)
        spend_positive = "yes" if positive > sum(amount < 0 for _, amount, _ in found) else "no"
    sign = -1 if spend_positive == "yes" else 1
    return Cases(
        [
            RawTransaction(
                merchant=row["merchant"],
                description=row["description"],
                amount=sign * amount,
                currency=row["currency"],
                date=day,
                user_id=row.get("user_id") or None,
                account=row.get("account") or None,
            )
            for day, amount, row in found
        ],
        [row["label"] for _, _, row in found],
        [day for day, _, _ in found],
        spend_positive == "yes",
    )


def split(cases: Cases, latest: int | None = None) -> Split:
    """Split at the day on which TRAIN_SHARE of the rows are over; learn the *latest* rows before.

    Raises:
        Unusable: no row would be scored.
    """
    cut = cases.first_of_day(TRAIN_SHARE)
    before, after = cases.part(0, cut), cases.part(cut, len(cases))
    train = before if latest is None else before.latest(latest)
    wide, narrow = frequent(before.labels), frequent(train.labels)
    test = after.take(place for place, label in enumerate(after.labels) if label in wide)
    scored = np.array([label in narrow for label in test.labels], dtype=np.bool_)
    if not scored.any():
        raise Unusable(
            f"nothing to score: of the {len(after):,} rows from {cases.days[cut]} on, none has a "
            f"label with {MIN_ROWS} rows among the {len(train):,} learned"
        )
    return Split(
        cases.days[cut],
        train,
        cut,
        len(after),
        test,
        scored,
        seen(train, test),
        count_user_rows(train, test),
    )


def frequent(labels: Iterable[str], least: int = MIN_ROWS) -> set[str]:
    return {label for label, count in Counter(labels).items() if count >= least}


def seen(train: Cases, test: Cases) -> BoolArray:
    """Which of *test* have a merchant that *train* has too, letter for letter; shape (n,)."""
    known = {txn.merchant for txn in train.txns}
    return np.array([txn.merchant in known for txn in test.txns], dtype=np.bool_)


def count_user_rows(train: Cases, test: Cases) -> NDArray[np.int64] | None:
    """How many rows in *train* the user of each row of *test* has, shape (n,); None: no users."""
    rows: Counter[str | None] = Counter(txn.user_id for txn in train.txns if txn.user_id)
    return np.array([rows[txn.user_id] for txn in test.txns]) if rows else None


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(file: IO[str], name: str) -> Iterator[tuple[dt.date, float, dict[str, str]]]:
    """Date, amount as written and the cells of each row that has a label."""
    reader = csv.DictReader(file, restval="")
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise Unusable(
            f"{name} is not in canonical form: no column {', '.join(map(repr, missing))} "
            f"(its header must have {','.join(COLUMNS)})"
        )
    for row in reader:
        if not row["label"]:
            continue
        try:
            yield dt.date.fromisoformat(row["date"]), float(row["amount"]), row
        except ValueError as error:
            raise Unusable(
                f"{name} is not in canonical form: line {reader.line_num}: {error}"
            ) from None
