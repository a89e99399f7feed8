"""Promises of every model, whatever it was trained on."""

from __future__ import annotations

import datetime as dt
import io
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest

from shared.errors import DamagedVersion
from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model import classifier
from shared.model.candidates import CandidateGenerator, Candidates, EncodedRows
from shared.model.classifier import Model
from worker.training import fit, parallel
from worker.training.fit_candidates import fit_generator

FIRST_DAY = dt.date(2024, 1, 1)
SYLLABLES = ("ba", "ku", "ri", "mo", "tel", "san", "vo", "pix", "dra", "une", "gol", "fe")


def transactions(
    n: int, categories: int, seed: int = 1, noise: float = 0.05
) -> tuple[list[FeatureRow], list[str]]:
    """Invented transactions by date: each category has a trade, a price and six shops."""
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
        )
        rows.append(features_of(raw))
        if draw.random() < noise:
            category = draw.randrange(categories)
        labels.append(f"Category {category}")
    return rows, labels


# Words for eight trades, and letters to make up shops of.
SCRIPTS = {
    "English": (
        "bakery pharmacy garage florist butcher bookshop optician cinema",
        "abdegiklmnorstu",
    ),
    "German": (
        "bäckerei apotheke werkstatt blumen metzgerei bücher optik größe",
        "aäbeghiklmnoöstuüß",
    ),
    "Polish": (
        "piekarnia apteka warsztat kwiaciarnia rzeźnik książki okulista łódź",
        "aąbcćeęłńośżź",
    ),
    "Greek": (
        "φούρνος φαρμακείο συνεργείο λουλούδια κρεοπωλείο βιβλία οπτικά σινεμά",
        "αβγδεηικλμνορστω",
    ),
    "Russian": ("пекарня аптека гараж цветы мясо книги оптика кино", "абвгдеиклмнорсту"),
    "Arabic": ("مخبز صيدلية ورشة زهور جزار كتب نظارات سينما", "ابتجدرسعفقلمنهوي"),
    "Hindi": ("बेकरी दवाखाना गैराज फूल कसाई किताबें चश्मा सिनेमा", "कगचजटडतदनपबमयरलवसह"),
    "Japanese": (
        "パン屋 薬局 修理工場 花屋 肉屋 本屋 眼鏡店 映画館",
        "あいうえおかきくけこさしすせそたちつてと",
    ),
}


def in_script(trades: str, letters: str) -> tuple[list[FeatureRow], list[str]]:
    """1,600 purchases, each in a shop of its own; one in ten does not tell its trade."""
    draw = random.Random(3)
    words = trades.split()
    rows, labels = [], []
    for index in range(1600):
        category = draw.randrange(len(words))
        name = "".join(draw.choices(letters, k=5))
        told = words[category] if draw.random() < 0.9 else ""
        raw = RawTransaction(
            merchant=f"{name} {told}".strip(),
            description=draw.choice((None, words[category][:3])),
            amount=-round(draw.uniform(1, 100), 2),
            date=FIRST_DAY + dt.timedelta(days=index // 4),
        )
        rows.append(features_of(raw))
        labels.append(f"Category {category}")
    return rows, labels


@cache
def train(n: int, categories: int) -> Model:
    return fit.fit(*transactions(n, categories))


def accuracy(model: Model, rows: list[FeatureRow], labels: list[str]) -> float:
    guesses = model.predict_many(rows)
    return sum(p.label == label for p, label in zip(guesses, labels, strict=True)) / len(labels)


ODD = [
    RawTransaction(),
    RawTransaction(merchant=""),
    RawTransaction(merchant="TEST", abs_amount=10),
    RawTransaction(amount=float("nan"), abs_amount=float("inf")),
    RawTransaction(merchant="東京ラーメン", description="Отель", amount=1e15),
    RawTransaction(merchant="\x00\ud800", mcc="5411", hour_of_day=3, channel="telepathy"),
    RawTransaction(merchant="x" * 5000, description="y " * 5000, date=dt.date.max),
    RawTransaction(date=dt.date.min, amount=0.0),
]

SIZES = {  # the linear score alone; a forest of small trees; a forest of large ones, 40 labels
    "one row": (1, 1),
    "two rows": (2, 2),
    "one label": (50, 1),
    "a few rows": (60, 4),
    "a small set": (800, 6),
    "a middling set": (3200, 40),
}


@pytest.fixture(params=list(SIZES.values()), ids=list(SIZES))
def model(request: pytest.FixtureRequest) -> Model:
    """A model of each kind that the learner can come to."""
    return train(*request.param)


class TestPredict:
    def test_one_row_is_predicted_as_among_others(self, model: Model) -> None:
        rows = transactions(150, 5, seed=7)[0] + [features_of(raw) for raw in ODD]

        together = model.predict_many(rows)

        assert [model.predict(row) for row in rows] == together

    def test_a_model_saved_and_loaded_predicts_the_same(self, model: Model) -> None:
        rows, _ = transactions(150, 5, seed=7)

        loaded = Model.from_files(model.to_files())

        assert loaded.predict_many(rows) == model.predict_many(rows)
        assert loaded.to_files() == model.to_files()

    def test_confidences_are_probabilities(self, model: Model) -> None:
        rows = transactions(150, 5, seed=7)[0] + [features_of(raw) for raw in ODD]

        for prediction in model.predict_many(rows):
            shares = [prediction.confidence, *(s.confidence for s in prediction.alternatives)]
            assert all(0 <= share <= 1 for share in shares)
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1
            names = [prediction.label, *(s.label for s in prediction.alternatives)]
            assert len(set(names)) == len(names) == min(4, len(model.labels))
            assert set(names) <= set(model.labels)

    def test_missing_and_odd_values_get_a_prediction(self, model: Model) -> None:
        for raw in ODD:
            assert model.predict(features_of(raw)).label in model.labels

    def test_many_threads_get_the_predictions_of_one(self) -> None:
        model = train(800, 6)
        rows, _ = transactions(200, 6, seed=9)
        expected = model.predict_many(rows)

        with ThreadPoolExecutor(8) as pool:
            for answers in pool.map(lambda _: [model.predict(row) for row in rows], range(8)):
                assert answers == expected

    def test_no_rows_have_no_predictions(self, model: Model) -> None:
        assert model.predict_many([]) == []


class TestLearner:
    def test_the_same_rows_and_seed_give_the_same_bytes(self) -> None:
        rows, labels = transactions(800, 6)

        first, second = (fit.fit(rows, labels, seed=3).to_files() for _ in range(2))

        assert first == second

    def test_one_core_gives_the_same_bytes_as_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows, labels = transactions(800, 6)
        files = []
        for cores in (1, 2):
            monkeypatch.setattr(parallel, "THREADS", cores)
            fitted = fit.fit_and_refit(rows, labels, learned=700)
            files.append([model.to_files() for model in fitted])

        assert files[0] == files[1]

    def test_a_single_category_is_predicted_with_confidence(self) -> None:
        rows, labels = transactions(50, 1)

        prediction = fit.fit(rows, labels).predict(features_of(RawTransaction()))

        assert prediction.label == labels[0]
        assert prediction.confidence > 0.9
        assert prediction.alternatives == ()

    @pytest.mark.parametrize("n", [2, 3, 7, 25], ids=lambda n: f"{n} rows")
    def test_label_with_a_single_row_is_learned(self, n: int) -> None:
        rows, _ = transactions(n, 1)
        labels = [f"Own {index}" for index in range(n)]

        model = fit.fit(rows, labels)

        assert set(model.labels) == set(labels)
        assert model.predict(rows[0]).label in labels

    def test_model_recognizes_known_shops_and_the_trade_of_new_ones(self) -> None:
        rows, labels = transactions(1600, 8, noise=0.02)

        model = fit.fit(rows[:1300], labels[:1300])

        assert accuracy(model, rows[1300:], labels[1300:]) > 0.9
        name = f"brand new {rows[0].merchant.split()[-1]}"
        new_shop = rows[0]._replace(line=name, merchant=name)
        assert model.predict(new_shop).label == model.predict(rows[0]).label

    def test_a_thousand_categories_are_learned(self) -> None:
        """Plain multiclass boosting falls below the most frequent label here, after minutes."""
        rows, labels = transactions(3600, 1000)

        model = fit.fit(rows[:3200], labels[:3200])

        most_frequent = max(labels.count(label) for label in set(labels)) / len(labels)
        assert accuracy(model, rows[3200:], labels[3200:]) > most_frequent + 0.2

    @pytest.mark.parametrize("later", ["turned", "new"])
    def test_no_later_row_changes_what_is_held_out(self, later: str) -> None:
        """The last block's candidates must not know the labels they are judged by, nor others."""
        rows, labels = transactions(400, 4)
        changed = list(labels)
        for index in range(352, 400):
            changed[index] = labels[index - 1] if later == "turned" else f"New {index}"

        before, after = (self.held_out(rows, told) for told in (labels, changed))

        assert np.array_equal(before.features, after.features[:, :4], equal_nan=True)
        assert np.array_equal(before.linear, after.linear[:, :4])

    def test_undated_rows_do_not_split_the_held_out_blocks(self) -> None:
        rows, labels = transactions(400, 4)
        rows = [row._replace(date=None) if at % 3 else row for at, row in enumerate(rows)]
        rows = rows[::-1]

        held = self.held_out(rows, labels)

        days = fit._read(rows, b"key", lambda *_: None).rows["day"]
        cuts = fit._cuts(days)
        assert cuts == sorted(cuts)
        assert len(held.labels) == len(rows) - cuts[0]

    @staticmethod
    def held_out(rows: list[FeatureRow], labels: list[str]) -> Candidates:
        inputs = fit._read(rows, b"key", lambda *_: None)
        names, ids = fit._numbered(labels)
        with parallel.FitPool(lambda *_: None) as own:
            return fit._held_out(inputs, ids, len(names), own)[0]

    def test_row_dated_years_ahead_hardly_changes_other_predictions(self) -> None:
        """Else all of them would look equally old, and what changed since would be lost."""
        rows, labels = transactions(1000, 4, noise=0)
        half = len(rows) // 2
        names = sorted(set(labels))
        turned = [names[(names.index(label) + 1) % 4] for label in labels[half:]]
        labels = [*labels[:half], *turned]
        typo = rows[0]._replace(date=dt.date(2099, 1, 1), line="typo", merchant="typo")

        plain, beside = (
            accuracy(fit.fit_and_refit(*told, learned=900).stored, rows[900:], labels[900:])
            for told in (
                (rows[:900], labels[:900]),
                ([*rows[:900], typo], [*labels[:900], labels[0]]),
            )
        )

        assert beside > plain - 0.03

    def test_model_of_shuffled_labels_is_no_better_than_chance(self) -> None:
        rows, labels = transactions(2000, 8, noise=0)
        random.Random(5).shuffle(labels)

        model = fit.fit(rows[:1600], labels[:1600])

        share = max(labels.count(label) for label in set(labels)) / len(labels)
        assert accuracy(model, rows[1600:], labels[1600:]) < share + 0.05
        sure = [prediction.confidence for prediction in model.predict_many(rows[1600:])]
        assert sum(sure) / len(sure) < share + 0.1

    @pytest.mark.parametrize("script", SCRIPTS)
    def test_other_scripts_are_learned_as_well_as_english(self, script: str) -> None:
        """Shops never seen, known by their trade's word and by what was bought."""
        spoken = [in_script(*SCRIPTS[name]) for name in ("English", script)]
        english, other = (
            accuracy(fit.fit(rows[:1200], labels[:1200]), rows[1200:], labels[1200:])
            for rows, labels in spoken
        )

        assert english > 0.8
        assert other > english - 0.03

    def test_refitted_generator_knows_new_labels_and_shops(self) -> None:
        rows, labels = transactions(800, 6)
        shop = "quux novelties"
        more = [rows[-1]._replace(line=shop, merchant=shop, norm_desc="")] * 5

        model, refitted = fit.fit_and_refit(
            [*rows, *more], [*labels, *["Novelties"] * 5], learned=800
        )

        assert model.to_files() == train(800, 6).to_files()
        assert "Novelties" in refitted.labels
        assert refitted.predict(more[0]).label == "Novelties"
        assert refitted.booster_text == model.booster_text

    def test_progress_is_reported_and_may_end_the_run(self) -> None:
        told: list[str] = []

        def stop(phase: str, done: int, total: int) -> None:
            told.append(phase)
            if phase == "forest":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit.fit(*transactions(800, 6), progress=stop)

        assert list(dict.fromkeys(told)) == ["encode", "base", "candidates", "forest"]

    def test_rows_without_labels_are_refused(self) -> None:
        with pytest.raises(ValueError, match="1 rows and 0 labels"):
            fit.fit(transactions(1, 1)[0], [])


class TestFiles:
    def test_no_word_of_a_transaction_is_in_any_file(self) -> None:
        rows, _ = transactions(800, 6)
        words = {word for row in rows for word in (row.merchant + " " + row.norm_desc).split()}
        files = train(800, 6).to_files()
        arrays = np.load(io.BytesIO(files["arrays.npz"]), allow_pickle=False)
        plain = b"".join(
            [files["model.json"], files["model.txt"], *map(np.ndarray.tobytes, arrays.values())]
        )

        assert words
        assert not [word for word in words if len(word) > 5 and word.encode() in plain]

    def test_files_of_another_feature_version_are_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = train(60, 4).to_files()
        monkeypatch.setattr(classifier, "FEATURE_VERSION", -1)

        with pytest.raises(DamagedVersion, match="feature_version"):
            Model.from_files(files)

    @pytest.mark.parametrize("name", ["model.json", "arrays.npz", "model.txt"])
    def test_a_missing_file_is_refused(self, name: str) -> None:
        files = train(800, 6).to_files()
        del files[name]

        with pytest.raises(DamagedVersion):
            Model.from_files(files)

    @pytest.mark.parametrize("name", ["model.json", "arrays.npz"])
    def test_a_truncated_file_is_refused(self, name: str) -> None:
        files = train(60, 4).to_files()
        files[name] = files[name][: len(files[name]) // 2]

        with pytest.raises(DamagedVersion):
            Model.from_files(files)

    def test_another_schema_is_refused(self) -> None:
        files = train(60, 4).to_files()
        files["model.json"] = json.dumps({**json.loads(files["model.json"]), "schema": 0}).encode()

        with pytest.raises(DamagedVersion, match="schema"):
            Model.from_files(files)


def test_failing_generator_fit_ends_the_training_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both forests of a large set take minutes."""
    rows, labels = transactions(900, 5)
    forests = list[int]()
    begun, failed = threading.Event(), threading.Event()

    def failing(inputs: EncodedRows, *told: Any) -> CandidateGenerator:
        if inputs.size < 900:
            return fit_generator(inputs, *told)
        begun.wait(60)
        failed.set()
        raise MemoryError("no room for the base")

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "forest":
            begun.set()
            failed.wait(60)
            forests.append(done)

    monkeypatch.setattr(fit, "fit_generator", failing)

    with pytest.raises(MemoryError, match="no room"):
        fit.fit(rows, labels, progress=progress)

    assert len(forests) < 20  # of 160
