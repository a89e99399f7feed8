"""What a model leans on, and what its linear scorer says alone."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace

import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.candidates import PAIR_FEATURES
from shared.model.classifier import Model
from worker.evaluation import feature_importance
from worker.training import fit

SHOPS = {"Coffee": "BEAN HOUSE", "Fuel": "CITY PETROL", "Groceries": "FRESH MART"}


def rows_and_labels(count: int) -> tuple[list[FeatureRow], list[str]]:
    """A shop each for three labels; one row in ten has a label that its shop does not tell."""
    draw = random.Random(3)
    rows, labels = [], []
    for number in range(count):
        label = draw.choice(sorted(SHOPS))
        date = dt.date(2026, 1, 1) + dt.timedelta(days=number // 4)
        shop = f"{SHOPS[label]} #{draw.randint(1, 99)}"
        rows.append(features_of(RawTransaction(merchant=shop, amount=-9, date=date)))
        labels.append(draw.choice(sorted(SHOPS)) if draw.random() < 0.1 else label)
    return rows, labels


@pytest.fixture(scope="module")
def model() -> Model:
    return fit.fit(*rows_and_labels(600))


def test_the_shares_of_all_groups_sum_to_one(model):
    importance = feature_importance.feature_importance(model)

    groups = [group["name"] for group in importance["groups"]]
    assert sum(group["share"] for group in importance["groups"]) == pytest.approx(1)
    assert set(groups) <= {name.split(":")[0] for name in PAIR_FEATURES}
    assert len(set(groups)) == len(groups)


def test_the_features_with_most_gain_come_first_and_are_fifteen_at_most(model):
    importance = feature_importance.feature_importance(model)["features"]

    shares = [feature["share"] for feature in importance]
    assert 0 < len(importance) <= 15
    assert shares == sorted(shares, reverse=True)
    assert {feature["name"] for feature in importance} <= set(PAIR_FEATURES)


def test_model_without_a_reranker_has_no_feature_importance(model):
    importance = feature_importance.feature_importance(replace(model, booster_text=""))

    assert importance == {"features": [], "groups": []}


def test_linear_baseline_recognizes_shops_of_its_training_rows(model):
    rows = [features_of(RawTransaction(merchant=shop, amount=-9)) for shop in SHOPS.values()]

    assert feature_importance.predict_with_baseline(model, rows)[1] == list(SHOPS)


def test_linear_baseline_labels_each_row_for_any_number_of_rows(model):
    rows, _ = rows_and_labels(600)

    _, once = feature_importance.predict_with_baseline(model, rows)
    predictions, many = feature_importance.predict_with_baseline(model, rows * 3)

    assert many == once * 3
    assert predictions == model.predict_many(rows * 3)
    assert feature_importance.predict_with_baseline(model, []) == ([], [])
