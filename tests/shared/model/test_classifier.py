"""Promises of every model, whatever it was trained on."""

from __future__ import annotations

import datetime as dt
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from shared.errors import DamagedVersion
from shared.features.extract import RawTransaction, features_of
from shared.model import classifier
from shared.model.classifier import Model
from tests.support.trained_models import train, transactions

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
