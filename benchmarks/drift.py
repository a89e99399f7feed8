"""How often the drift checks cry wolf, and what they catch.

    python -m benchmarks.drift [labelled.csv …]

Made-up traffic: users with merchants, amounts and paydays of their own, so rows come in clusters.
A labelled file: its days are dealt anew into weeks, which are alike by that; and its weeks as they
came, with holidays, seasons and changes of habit in them, so that not each alarm is a false one. A
week is compared with the thirteen before it, as in the service; then with a shift in it.
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


def counted(rows: Sequence[Row]) -> tuple[Counts, Counts]:
    """The counts of a week, as worker.drift.profile makes them."""
    found = []
    for bins in (
        (it for row, new, _ in rows for it in inputs_of(row, is_new=new)),
        (it for *_, prediction in rows for it in answers_of(prediction)),
    ):
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for check, place in bins:
            counts[check][place] += 1
        found.append({check: dict(each) for check, each in counts.items()})
    return found[0], found[1]


def made_up(draw: np.random.Generator, users: int, weekly: float) -> list[list[Row]]:
    """WEEKS weeks and one more of the same users."""
    weeks: list[list[Row]] = [[] for _ in range(WEEKS + 1)]
    for user in range(users):
        favourites = draw.integers(0, 400, draw.integers(5, 30))
        taste = draw.dirichlet(np.full(favourites.size, 0.5))
        channel = draw.choice(len(_CHANNELS), favourites.size, p=(0.6, 0.25, 0.05, 0.1))
        price = np.exp(draw.normal(3.2, 1.1, favourites.size))
        known: set[int] = set()
        busy = weekly * np.exp(draw.normal(0, 0.5))
        for week in weeks:
            for place in draw.choice(favourites.size, draw.poisson(busy), p=taste).tolist():
                size = float(round(price[place] * np.exp(draw.normal(0, 0.3)), 2))
                sign = 1 if place == 0 and favourites[0] % 7 == 0 else -1
                raw = RawTransaction(
                    merchant=f"shop {favourites[place]}",
                    amount=sign * size,
                    currency="EUR",
                    dow=int(draw.integers(0, 7)),
                    channel=_CHANNELS[channel[place]],
                    user_id=str(user),
                )
                sure = float(np.clip(draw.beta(8, 1.5), 0, 1))
                label = f"category {favourites[place] % 12}"
                week.append((features_of(raw), place not in known, Prediction(label, sure, ())))
                known.add(place)
    # The first purchases at a shop are all new; a service that runs has them behind it.
    return [[(row, draw.random() < 0.06, said) for row, _, said in week] for week in weeks]


def dealt(rows: Sequence[Row], draw: np.random.Generator) -> list[list[Row]]:
    """The days of a file in another order, as WEEKS weeks and one more."""
    by_day: defaultdict[dt.date, list[Row]] = defaultdict(list)
    for row in rows:
        by_day[row[0].date or dt.date.min].append(row)
    days = sorted(by_day)
    first = int(draw.integers(0, len(days) - 7 * (WEEKS + 1) + 1))
    chosen = draw.permutation(len(range(first, first + 7 * (WEEKS + 1)))) + first
    weeks: list[list[Row]] = [[] for _ in range(WEEKS + 1)]
    for place, day in enumerate(chosen.tolist()):
        weeks[place // 7] += by_day[days[day]]
    return weeks


def as_they_came(rows: Sequence[Row]) -> list[list[Row]]:
    """The whole weeks of a file, in order."""
    first, last = rows[0][0].date, rows[-1][0].date
    assert first is not None and last is not None  # noqa: PT018  a labelled file has dates
    weeks: list[list[Row]] = [[] for _ in range(((last - first).days + 1) // 7)]
    for row in rows:
        place = ((row[0].date or first) - first).days // 7
        if place < len(weeks):
            weeks[place].append(row)
    return weeks


Window = tuple[
    ReferenceProfile, list[Row]
]  # what was before, and the rows of the week that is looked at


def window(weeks: Sequence[list[Row]]) -> Window:
    """The last week beside the ones before it."""
    inputs, answers = zip(*map(counted, weeks[:-1]), strict=True)
    return ReferenceProfile(inputs=inputs, answers=answers, accuracy=0.9, confidence=0.9), weeks[-1]


def checked(reference: ReferenceProfile, rows: Sequence[Row]) -> list[Check]:
    """What the service would make of the week."""
    inputs, answers = counted(rows)
    return compare(reference, WindowProfile([inputs], [answers], len(rows), 0.9))


def alarms(reference: ReferenceProfile, rows: Sequence[Row]) -> list[str]:
    """The checks that raise an alarm."""
    return [it.check for it in checked(reference, rows) if it.alarm]


def _dearer(row: Row, _: np.random.Generator) -> Row:
    size = (row[0].abs_amount or 0) * 3
    return row[0]._replace(abs_amount=size), *row[1:]


def _of_them(share: float, change: Callable[[Row], Row]) -> Shift:
    return lambda row, draw: change(row) if draw.random() < share else row


SHIFTS: dict[str, tuple[str, Shift]] = {
    "amounts three times as large": ("amount", _dearer),
    "a quarter of the amounts with the other sign": (
        "direction",
        _of_them(0.25, lambda row: (row[0]._replace(amount=-(row[0].amount or 0)), *row[1:])),
    ),
    "a quarter by another channel": (
        "channel",
        _of_them(0.25, lambda row: (row[0]._replace(channel="transfer"), *row[1:])),
    ),
    "a quarter in another currency": (
        "currency",
        _of_them(0.25, lambda row: (row[0]._replace(currency="USD"), *row[1:])),
    ),
    "a quarter more of merchants never seen": (
        "new_merchant",
        _of_them(0.25, lambda row: (row[0], True, row[2])),
    ),
    "a quarter moves to one category": (
        "category",
        _of_them(0.25, lambda row: (*row[:2], row[2]._replace(label="category 1"))),
    ),
    "a third of the answers unsure": (
        "confidence",
        _of_them(0.33, lambda row: (*row[:2], row[2]._replace(confidence=0.45))),
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
        made = [window(made_up(draw, users, weekly)) for _ in range(options.windows)]
        _report(f"made up, {users:,} users", made)
        if users == 300:
            shifted = made
    for path in options.csv:
        rows, draw = _rows(path), np.random.default_rng(20261123)
        _report(path.name, [window(dealt(rows, draw)) for _ in range(options.windows)])
        weeks = as_they_came(rows)
        ends = range(WEEKS + 1, len(weeks) + 1)
        came = [window(weeks[end - WEEKS - 1 : end]) for end in ends]
        _report(f"{path.name}, as it came", came)
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


def _report(name: str, windows: Sequence[Window]) -> None:
    checks = [checked(*each) for each in windows]
    judged = sum(any(it.p is not None for it in each) for each in checks)
    found = [[it.check for it in each if it.alarm] for each in checks]
    rows = round(float(np.median([len(each) for _, each in windows])))
    which = Counter(check for each in found for check in each)
    told = ", ".join(f"{check} {count}" for check, count in which.most_common()) or "–"
    count = sum(map(bool, found))
    print(f"| {name} | {rows:,} | {len(windows)} | {judged} | {count} | {told} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
