"""Sample statements for a first try: two years of an invented household, mostly labelled.

    python -m local.demo.sample statements.csv [--end 2026-01-31]

The same end date gives the same bytes. Card strings look as banks print them, people label as
people do (now and then wrongly, and the last weeks not all yet), new places open all the time, and
some merchants sell things of several categories.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

from local.demo.sample_merchants import (
    AMBIGUOUS,
    CATEGORIES,
    CITIES,
    NAMES,
    PROCESSORS,
    REGULARS,
    SILENT_NAMES,
    Ambiguous,
    Category,
)

COLUMNS = ("txn_id", "date", "amount", "currency", "merchant", "description", "label")
DAYS = 730
SEED = 20
MONTH_DAYS = 30.4
WRONG_LABEL_SHARE = 0.015
UNLABELLED_DAYS = 21  # in the last weeks, not everything has been labelled yet
UNLABELLED_SHARE = 0.35
REFUND_SHARE = 0.01
MEMOS = ("", "", "", "CARD PURCHASE", "POS PURCHASE", "CONTACTLESS", "VISA DEBIT")


class Row(NamedTuple):
    """One line of the file; positive amounts are spent, negative ones received."""

    date: dt.date
    amount: float
    merchant: str
    description: str
    label: str


@dataclass(frozen=True, slots=True)
class Shop:
    """A place to buy from, and how its terminal prints it."""

    name: str
    processor: str
    city: str
    opened: int  # days from the first day of the data
    size: float  # of its usual amounts, beside others of its category


def generate(end: dt.date) -> list[Row]:
    """The statements of the two years that end on *end*, earliest first."""
    start = end - dt.timedelta(days=DAYS - 1)
    chance = Random(SEED)
    rows = [row for row in _all(chance, start) if start <= row.date <= end]
    rows.sort(key=lambda row: (row.date, row.merchant, row.amount))
    return [_as_labelled(row, chance, end) for row in rows]


def write(path: Path, end: dt.date) -> int:
    """Write the file, all of it or nothing; give the number of transactions."""
    rows = generate(end)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, row in enumerate(rows, start=1):
            writer.writerow(
                (
                    f"SAMPLE-{number:05}",
                    row.date.isoformat(),
                    f"{row.amount:.2f}",
                    "USD",
                    row.merchant,
                    row.description,
                    row.label,
                )
            )
    draft.replace(path)
    return len(rows)


def _all(chance: Random, start: dt.date) -> Iterator[Row]:
    for label, category in CATEGORIES.items():
        yield from _purchases(label, category, _shops(category, chance), chance, start)
    for ambiguous in AMBIGUOUS:
        yield from _mixed(ambiguous, chance, start)
    yield from _regular(chance, start)


def _shops(category: Category, chance: Random) -> list[Shop]:
    """Chains that were always there, and small places of which most open during the two years."""
    shops = [Shop(name, "", chance.choice(CITIES), 0, 1.0) for name in category.chains]
    for _ in range(category.places):
        name = f"{chance.choice(NAMES)} {chance.choice(category.words)}"
        if chance.random() < 0.08:
            name = chance.choice(SILENT_NAMES)
        opened = 0 if chance.random() < 0.35 else chance.randrange(DAYS - 10)
        shops.append(
            Shop(
                name,
                chance.choice(PROCESSORS),
                chance.choice(CITIES),
                opened,
                chance.uniform(0.7, 1.4),
            )
        )
    return shops


def _purchases(
    label: str, category: Category, shops: list[Shop], chance: Random, start: dt.date
) -> Iterator[Row]:
    weights = [3.0 / (rank + 2) for rank in range(len(category.chains))]
    weights += [chance.uniform(0.1, 0.6) for _ in range(category.places)]
    for _ in range(round(category.monthly * DAYS / MONTH_DAYS)):
        day = chance.randrange(DAYS)
        shop = chance.choices(shops, weights)[0]
        if shop.opened > day:
            continue
        amount = _amount(category.low, category.high, chance) * shop.size
        if chance.random() < REFUND_SHARE:
            amount = -amount
        memo = chance.choice(MEMOS) if label not in ("Cash", "Fees") else ""
        yield Row(_date(start, day), amount, _printed(shop, chance), memo, label)


def _mixed(merchant: Ambiguous, chance: Random, start: dt.date) -> Iterator[Row]:
    weights = [kind[1] for kind in merchant.kinds]
    for _ in range(round(merchant.monthly * DAYS / MONTH_DAYS)):
        label, _, low, high = chance.choices(merchant.kinds, weights)[0]
        shop = Shop(merchant.text, "", chance.choice(CITIES), 0, 1.0)
        yield Row(
            _date(start, chance.randrange(DAYS)),
            _amount(low, high, chance),
            _printed(shop, chance),
            chance.choice(MEMOS),
            label,
        )


def _regular(chance: Random, start: dt.date) -> Iterator[Row]:
    for regular in REGULARS:
        for month in range(DAYS // 30 + 2):
            year, index = divmod(start.year * 12 + start.month - 1 + month, 12)
            date = dt.date(year, index + 1, regular.day) + dt.timedelta(chance.choice((0, 0, 0, 1)))
            share = chance.uniform(1 - regular.spread, 1 + regular.spread)
            text = regular.text
            if chance.random() < 0.5:
                text += f" {chance.randrange(10**6):06}"
            yield Row(date, round(regular.amount * share, 2), text, regular.memo, regular.label)


def _amount(low: float, high: float, chance: Random) -> float:
    """Most near the low end, as shopping is."""
    amount: float = low * math.pow(high / low, chance.betavariate(2.0, 2.4))
    return round(amount) - 0.01 if chance.random() < 0.25 and amount > 4 else round(amount, 2)


def _date(start: dt.date, day: int) -> dt.date:
    return start + dt.timedelta(days=day)


def _printed(shop: Shop, chance: Random) -> str:
    """The name as one of many terminals prints it: store number, reference, city, cut off."""
    text = shop.processor + shop.name
    if shop.name == "AMZN MKTP":
        code = "".join(chance.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=9))
        return f"AMZN MKTP {chance.choice(('US', 'CA', 'UK'))}*{code}"
    style = chance.random()
    if style < 0.25 and not shop.processor:
        text += f" #{chance.randrange(1, 4000):04}"
    elif style < 0.35:
        text += f" {chance.randrange(10**7):07}"
    elif style < 0.42:
        text += f" {chance.randrange(1, 13):02}/{chance.randrange(1, 29):02}"
    if chance.random() < 0.6:
        text += f" {shop.city}"
    if shop.processor.startswith("TST") or chance.random() < 0.05:
        text = text[:22].rstrip()
    return text.title() if chance.random() < 0.06 else text


def _as_labelled(row: Row, chance: Random, end: dt.date) -> Row:
    fate, other = chance.random(), chance.choice(tuple(CATEGORIES))
    if (end - row.date).days < UNLABELLED_DAYS and fate < UNLABELLED_SHARE:
        return row._replace(label="")
    return row._replace(label=other) if fate > 1 - WRONG_LABEL_SHARE else row


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local.demo.sample", description="sample statements"
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--end", type=dt.date.fromisoformat, default=dt.date.today())
    wanted = parser.parse_args(argv)
    count = write(wanted.path, wanted.end)
    print(f"{wanted.path}: {count:,} transactions up to {wanted.end}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
