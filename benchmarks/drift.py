"""False alarms of the drift checks, and the shifts that they detect.

    python -m benchmarks.drift [labelled.csv …]

Made-up traffic: each user has their own merchants, amounts and paydays, so rows come in clusters.
A labelled file: once with its days shuffled into weeks, so that all weeks are alike; and once with
its real weeks, whose holidays, seasons and new habits can cause true alarms. A week is compared
with the thirteen before it, as in the service; then again with a shift in it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality.data import read
from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.classifier import Prediction
from worker.drift.comparison import Check, compare
from worker.drift.profile import (
    WEEKS,
    Counts,
    ReferenceProfile,
    WindowProfile,
    answers_of,
    inputs_of,
)

WINDOWS = 100
Row = tuple[FeatureRow, bool, Prediction]  # with whether the merchant is new to the user
Shift = Callable[[Row, np.random.Generator], Row]
_CHANNELS = ("pos", "online", "atm", "transfer")


def count(rows: Sequence[Row]) -> tuple[Counts, Counts]:
    """Histograms of a week's inputs and answers, as worker.drift.profile makes them."""
    histograms = []
    labels = {prediction.label for *_, prediction in rows}
    for bins in (
        (pair for row, new, _ in rows for pair in inputs_of(row, is_new=new)),
        (pair for *_, prediction in rows for pair in answers_of(prediction, labels)),
    ):
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for check, value in bins:
            counts[check][value] += 1
        histograms.append({check: dict(each) for check, each in counts.items()})
    return histograms[0], histograms[1]


def make_up(draw: np.random.Generator, users: int, weekly: float) -> list[list[Row]]:
    """Make up WEEKS + 1 weeks of the same users."""
    weeks: list[list[Row]] = [[] for _ in range(WEEKS + 1)]
    for user in range(users):
        favourites = draw.integers(0, 400, draw.integers(5, 30))
        taste = draw.dirichlet(np.full(favourites.size, 0.5))
        channel = draw.choice(len(_CHANNELS), favourites.size, p=(0.6, 0.25, 0.05, 0.1))
        price = np.exp(draw.normal(3.2, 1.1, favourites.size))
        visited: set[int] = set()
        busy = weekly * np.exp(draw.normal(0, 0.5))
        for week in weeks:
            for choice in draw.choice(favourites.size, draw.poisson(busy), p=taste).tolist():
                size = float(round(price[choice] * np.exp(draw.normal(0, 0.3)), 2))
                sign = 1 if choice == 0 and favourites[0] % 7 == 0 else -1
                raw = RawTransaction(
                    merchant=f"shop {favourites[choice]}",
                    amount=sign * size,
                    currency="EUR",
                    dow=int(draw.integers(0, 7)),
                    channel=_CHANNELS[channel[choice]],
                    user_id=str(user),
                )
                confidence = float(np.clip(draw.beta(8, 1.5), 0, 1))
                label = f"category {favourites[choice] % 12}"
                week.append(
                    (features_of(raw), choice not in visited, Prediction(label, confidence, ()))
                )
                visited.add(choice)
    # At the start every merchant is new; in a running service few are.
    return [[(row, draw.random() < 0.06, each) for row, _, each in week] for week in weeks]


def shuffle_days(rows: Sequence[Row], draw: np.random.Generator) -> list[list[Row]]:
    """Group the days of a file, in random order, into WEEKS + 1 weeks."""
    by_day: defaultdict[dt.date, list[Row]] = defaultdict(list)
    for row in rows:
        by_day[row[0].date or dt.date.min].append(row)
    days = sorted(by_day)
    first = int(draw.integers(0, len(days) - 7 * (WEEKS + 1) + 1))
    chosen = draw.permutation(len(range(first, first + 7 * (WEEKS + 1)))) + first
    weeks: list[list[Row]] = [[] for _ in range(WEEKS + 1)]
    for position, day in enumerate(chosen.tolist()):
        weeks[position // 7] += by_day[days[day]]
    return weeks


def real_weeks(rows: Sequence[Row]) -> list[list[Row]]:
    """The whole weeks of a file, in order."""
    first, last = rows[0][0].date, rows[-1][0].date
    assert first is not None and last is not None  # noqa: PT018  a labelled file has dates
    weeks: list[list[Row]] = [[] for _ in range(((last - first).days + 1) // 7)]
    for row in rows:
        week = ((row[0].date or first) - first).days // 7
        if week < len(weeks):
            weeks[week].append(row)
    return weeks


Window = tuple[ReferenceProfile, list[Row]]  # the weeks before, and the rows of the week to check


def split_window(weeks: Sequence[list[Row]]) -> Window:
    """The last week, and the profile of those before it."""
    inputs, answers = zip(*map(count, weeks[:-1]), strict=True)
    return ReferenceProfile(inputs=inputs, answers=answers, accuracy=0.9, confidence=0.9), weeks[-1]


def run_checks(reference: ReferenceProfile, rows: Sequence[Row]) -> list[Check]:
    """Compare a week with the reference, as the service does."""
    inputs, answers = count(rows)
    return compare(reference, WindowProfile([inputs], [answers], len(rows), 0.9))


def alarms(reference: ReferenceProfile, rows: Sequence[Row]) -> list[str]:
    """The checks that raise an alarm."""
    return [check.check for check in run_checks(reference, rows) if check.alarm]


def _triple(row: Row, _: np.random.Generator) -> Row:
    size = (row[0].abs_amount or 0) * 3
    return row[0]._replace(abs_amount=size), *row[1:]


def _in_share(share: float, change: Callable[[Row], Row]) -> Shift:
    return lambda row, draw: change(row) if draw.random() < share else row


SHIFTS: dict[str, tuple[str, Shift]] = {
    "amounts three times as large": ("amount", _triple),
    "a quarter of the amounts with the other sign": (
        "direction",
        _in_share(0.25, lambda row: (row[0]._replace(amount=-(row[0].amount or 0)), *row[1:])),
    ),
    "a quarter by another channel": (
        "channel",
        _in_share(0.25, lambda row: (row[0]._replace(channel="transfer"), *row[1:])),
    ),
    "a quarter in another currency": (
        "currency",
        _in_share(0.25, lambda row: (row[0]._replace(currency="USD"), *row[1:])),
    ),
    "a quarter more of merchants never seen": (
        "new_merchant",
        _in_share(0.25, lambda row: (row[0], True, row[2])),
    ),
    "a quarter moves to one category": (
        "category",
        _in_share(0.25, lambda row: (*row[:2], row[2]._replace(label="category 1"))),
    ),
    "a third of the answers with low confidence": (
        "confidence",
        _in_share(0.33, lambda row: (*row[:2], row[2]._replace(confidence=0.45))),
    ),
}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift")
    parser.add_argument("csv", type=Path, nargs="*")
    parser.add_argument("--windows", type=int, default=WINDOWS)
    options = parser.parse_args(argv)
    print("| traffic | rows a week | windows | judged | with an alarm | by check |")
    print("|---|---|---|---|---|---|")
    for users, weekly in ((50, 6.0), (300, 6.0), (1_500, 2.0)):
        draw = np.random.default_rng(20261123)
        made = [split_window(make_up(draw, users, weekly)) for _ in range(options.windows)]
        _print_row(f"made up, {users:,} users", made)
        if users == 300:
            shifted = made
    for path in options.csv:
        rows, draw = _rows(path), np.random.default_rng(20261123)
        _print_row(
            path.name, [split_window(shuffle_days(rows, draw)) for _ in range(options.windows)]
        )
        weeks = real_weeks(rows)
        ends = range(WEEKS + 1, len(weeks) + 1)
        real = [split_window(weeks[end - WEEKS - 1 : end]) for end in ends]
        _print_row(f"{path.name}, real weeks", real)
    print(
        "\n| shift, in made-up traffic of 300 users | check | windows | caught |\n|---|---|---|---|"
    )
    for name, (check, shift) in SHIFTS.items():
        draw = np.random.default_rng(7)
        caught = sum(
            check in alarms(reference, [shift(row, draw) for row in rows])
            for reference, rows in shifted
        )
        print(f"| {name} | {check} | {len(shifted)} | {caught} |", flush=True)
    return 0


def _rows(path: Path) -> list[Row]:
    cases = read(path)
    seen: set[str] = set()
    rows: list[Row] = []
    for txn, label in zip(cases.txns, cases.labels, strict=True):
        row = features_of(txn)
        rows.append((row, row.merchant not in seen, Prediction(label, 0.9, ())))
        seen.add(row.merchant)
    return rows


def _print_row(name: str, windows: Sequence[Window]) -> None:
    checks = [run_checks(*each) for each in windows]
    judged = sum(any(check.p is not None for check in week) for week in checks)
    raised = [[check.check for check in week if check.alarm] for week in checks]
    rows = round(float(np.median([len(each) for _, each in windows])))
    by_check = Counter(check for week in raised for check in week)
    listed = ", ".join(f"{check} {count}" for check, count in by_check.most_common()) or "–"
    count = sum(map(bool, raised))
    print(f"| {name} | {rows:,} | {len(windows)} | {judged} | {count} | {listed} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
