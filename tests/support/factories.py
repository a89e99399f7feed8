"""Made-up transactions and labels, in quantity and the same each time."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

from sqlalchemy import Engine, insert

from shared.db.tables import DriftReport, LabelSource, Transaction, TransactionLabel

SHOPS = {
    "Groceries": ("FRESH MART", "GREEN GROCER", "CORNER FOODS", "VALUE FOODS"),
    "Coffee": ("BEAN HOUSE", "DAILY GRIND", "COFFEE CART", "ESPRESSO BAR"),
    "Fuel": ("ROADSIDE GAS", "CITY PETROL", "FILL AND GO", "HIGHWAY FUEL"),
    "Rent": ("HOMESTEAD LETTINGS", "CITY APARTMENTS"),
}
PRICES = {"Groceries": 60, "Coffee": 5, "Fuel": 45, "Rent": 1200}


def report(*alarms: str, run_id: str = "r", **facts: Any) -> DriftReport:
    """A drift report with these alarms."""
    usual = {"psi": 0.4, "js": 0.1, "p": 0.001, "needed": 0.1, "spread": 1.0}
    values: dict[str, Any] = {
        "run_id": run_id,
        "window_start": dt.date(2026, 5, 1),
        "window_end": dt.date(2026, 5, 8),
        "rows": 500,
        "checks": [{"check": name, "alarm": True, **usual} for name in alarms],
        "alarm": bool(alarms),
        "estimated_accuracy": 0.9,
    }
    return DriftReport(**{**values, **facts})


def add_transactions(engine: Engine, count: int, *, labelled: int = 0, seed: int = 1) -> list[int]:
    """Insert *count* transactions of one year, label the earliest *labelled* ones; give the ids."""
    draw = random.Random(seed)
    rows, labels = [], []
    for number in range(count):
        label = draw.choice(sorted(SHOPS))
        labels.append(label)
        rows.append(
            {
                "external_id": f"made-up-{seed}-{number}",
                "date": dt.date(2026, 1, 1) + dt.timedelta(days=number * 300 // count),
                "amount": -round(PRICES[label] * draw.uniform(0.5, 1.5), 2),
                "currency": "EUR",
                "merchant": f"{draw.choice(SHOPS[label])} #{draw.randint(1, 999)}",
            }
        )
    with engine.begin() as connection:
        ids = list(connection.scalars(insert(Transaction).returning(Transaction.id), rows))
        ids.sort()
        if labelled:
            connection.execute(
                insert(TransactionLabel),
                [
                    {"txn_id": txn_id, "label": label, "source": LabelSource.HUMAN}
                    for txn_id, label in zip(ids[:labelled], labels, strict=False)
                ],
            )
    return ids
