"""Made-up transactions with labels, and models that are trained on them once a run."""

from __future__ import annotations

import datetime as dt
import random
from functools import cache

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.classifier import Model
from worker.training import fit
from worker.training.open_labels import LabelSharing

FIRST_DAY = dt.date(2024, 1, 1)
ALL_OPEN = LabelSharing(users=1)  # as a household has it
SYLLABLES = ("ba", "ku", "ri", "mo", "tel", "san", "vo", "pix", "dra", "une", "gol", "fe")


def transactions(
    n: int, categories: int, seed: int = 1, noise: float = 0.05
) -> tuple[list[FeatureRow], list[str]]:
    """Invented transactions by date: each category has a trade, a price and six shops.

    Users label alike; some rows have no user.
    """
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices(SYLLABLES, k=3))

    trades = [word() for _ in range(categories)]
    shops = [[f"{word()} {trade}" for _ in range(6)] for trade in trades]
    prices = [draw.uniform(3, 300) for _ in range(categories)]
    rows, labels = [], []
    for index in range(n):
        category = int(draw.paretovariate(0.6)) % categories
        raw = RawTransaction(
            merchant=draw.choice(shops[category]),
            description=draw.choice((None, f"bought {draw.choice(trades)}")),
            amount=-round(prices[category] * draw.uniform(0.5, 1.5), 2),
            date=FIRST_DAY + dt.timedelta(days=index * 700 // n),
            user_id=f"user {index % 5}" if index % 7 else None,
            account="joint" if index % 3 else None,
        )
        rows.append(features_of(raw))
        if draw.random() < noise:
            category = draw.randrange(categories)
        labels.append(f"Category {category}")
    return rows, labels


@cache
def train(n: int, categories: int) -> Model:
    return fit.fit(*transactions(n, categories), sharing=ALL_OPEN)


def accuracy(model: Model, rows: list[FeatureRow], labels: list[str]) -> float:
    guesses = model.predict_many(rows)
    return sum(p.label == label for p, label in zip(guesses, labels, strict=True)) / len(labels)
