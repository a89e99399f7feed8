"""The sample statements: the same for everyone on the same day, and worth learning from."""

from __future__ import annotations

import csv
import datetime as dt
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from sklearn.metrics import f1_score

from local.demo import sample
from shared.features.extract import FeatureRow, RawTransaction, features_of
from worker.training import fit

END = dt.date(2026, 3, 1)


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("sample") / "statements.csv"
    sample.write(path, END)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def features(line: dict[str, str]) -> FeatureRow:
    """The file says positive for money spent; the service says negative."""
    return features_of(
        RawTransaction(
            merchant=line["merchant"],
            description=line["description"],
            amount=-float(line["amount"]),
            currency=line["currency"],
            date=dt.date.fromisoformat(line["date"]),
        )
    )


def macro_f1(truth: list[str], guess: list[str]) -> float:
    return float(f1_score(truth, guess, average="macro", zero_division=0))


def test_the_same_end_date_gives_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        sample.write(tmp_path / name, END)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_sample_covers_the_two_years_before_its_end_date(statements):
    dates = [dt.date.fromisoformat(line["date"]) for line in statements]

    assert 5_500 < len(statements) < 7_500
    assert dates == sorted(dates)
    assert dates[-1] == END
    assert dates[0] == END - dt.timedelta(days=sample.DAYS - 1)
    recent = sum(date > END - dt.timedelta(days=180) for date in dates)
    assert 0.2 < recent / len(dates) < 0.3


def test_every_transaction_has_an_id_of_its_own_and_a_merchant(statements):
    assert tuple(statements[0]) == sample.COLUMNS
    assert len({line["txn_id"] for line in statements}) == len(statements)
    assert all(line["merchant"] and float(line["amount"]) for line in statements)


def test_sample_has_positive_purchases_and_negative_salaries(statements):
    salaries = [float(line["amount"]) for line in statements if line["label"] == "Salary"]
    spent = [float(line["amount"]) for line in statements if line["label"] == "Restaurants"]

    assert sum(amount < 0 for amount in salaries) > 0.95 * len(salaries)
    assert sum(amount > 0 for amount in spent) > 0.95 * len(spent)


def test_only_the_last_weeks_hold_unlabelled_transactions(statements):
    unlabelled = [dt.date.fromisoformat(line["date"]) for line in statements if not line["label"]]

    assert unlabelled
    assert min(unlabelled) > END - dt.timedelta(days=sample.UNLABELLED_DAYS)


def test_every_category_has_enough_rows_to_be_judged(statements):
    counts = Counter(line["label"] for line in statements if line["label"])

    assert len(counts) >= 20
    assert min(counts.values()) >= 40


def test_model_of_the_sample_beats_a_merchant_lookup(statements):
    """New places, and merchants that sell several kinds of things, make the difference."""
    labelled = [line for line in statements if line["label"]]
    rows = [features(line) for line in labelled]
    labels = [line["label"] for line in labelled]
    cut = len(rows) * 4 // 5
    truth = labels[cut:]
    known: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row, label in zip(rows[:cut], labels[:cut], strict=True):
        known[row.merchant][label] += 1
    common = Counter(labels[:cut]).most_common(1)[0][0]

    model = fit.fit(rows[:cut], labels[:cut], seed=0)

    learned = macro_f1(truth, [guess.label for guess in model.predict_many(rows[cut:])])
    looked_up = macro_f1(
        truth,
        [
            known[row.merchant].most_common(1)[0][0] if row.merchant in known else common
            for row in rows[cut:]
        ],
    )
    assert learned > looked_up + 0.02
    assert 0.85 < learned < 0.98
    assert macro_f1(truth, [common] * len(truth)) < 0.1
