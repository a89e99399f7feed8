"""What moved each candidate of a prediction adds up to its scores."""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from shared.features.encoder import word_columns
from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.candidates import PAIR_FEATURES, encode_rows
from shared.model.classifier import Model
from shared.model.explain import TOP, explain, own_name
from tests.worker.evaluation.test_feature_importance import rows_and_labels
from worker.training import fit

SHOP = {"merchant": "BEAN HOUSE #7", "description": "TIM AT THE BEAN HOUSE", "amount": -4.5}
ROWS = [
    features_of(RawTransaction(**SHOP)),
    features_of(RawTransaction(merchant="CITY PETROL " * 9, amount=-50)),
    features_of(RawTransaction(merchant="Nobody Knows", mcc="5812")),
    features_of(RawTransaction()),
]
NAMES = ["known", "long", "unknown", "empty"]


@pytest.fixture(scope="module")
def model() -> Model:
    return fit.fit(*rows_and_labels(600))


@pytest.fixture(params=ROWS, ids=NAMES)
def row(request) -> FeatureRow:
    return request.param


def test_the_candidates_are_those_of_the_model_and_the_first_is_its_prediction(model, row):
    explanation = explain(model, row)

    proposal = model.generator.generate(encode_rows([row], model.hash_key))
    shares = [candidate.share for candidate in explanation.candidates]
    assert explanation.prediction == model.predict(row)
    assert explanation.candidates[0].label == explanation.prediction.label
    assert {one.label for one in explanation.candidates} == {
        model.labels[label] for label in proposal.labels[0]
    }
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_reranker_contributions_sum_to_the_log_odds(model, row):
    """Bias and all contributions, of which the strongest are named."""
    proposal = model.generator.generate(encode_rows([row], model.hash_key))
    odds = dict(zip(proposal.labels[0].tolist(), model.log_odds(proposal)[0].tolist(), strict=True))

    for candidate in explain(model, row).candidates:
        moves = [move.contribution for move in candidate.features]
        assert candidate.log_odds == odds[model.labels.index(candidate.label)]
        assert math.fsum([candidate.bias, *moves, candidate.rest]) == pytest.approx(
            candidate.log_odds, abs=1e-6
        )
        assert 0 < len(moves) <= TOP
        assert moves == sorted(moves, key=abs, reverse=True)


def test_each_contribution_has_the_name_and_value_of_its_feature(model, row):
    """Unknown ones have none."""
    proposal = model.generator.generate(encode_rows([row], model.hash_key))
    place = {model.labels[label]: at for at, label in enumerate(proposal.labels[0])}

    for candidate in explain(model, row).candidates:
        seen = proposal.features[0, place[candidate.label]]
        for move in candidate.features:
            value = seen[PAIR_FEATURES.index(move.name)]
            assert move.value == (None if np.isnan(value) else value)


def test_linear_contributions_sum_to_the_linear_score(model, row):
    """The words, and all else as one figure; the score itself is summed in single precision."""
    for candidate in explain(model, row).candidates:
        words = math.fsum(move.contribution for move in candidate.words)
        assert words + candidate.other == pytest.approx(candidate.linear, abs=1e-4)


def test_contribution_of_a_word_is_its_entry_times_the_weight(model):
    row = features_of(RawTransaction(merchant="BEAN HOUSE", amount=-9))
    entries = model.generator.encoder.encode([row], model.hash_key).toarray()[0]
    weights = model.generator.weights

    for candidate in explain(model, row).candidates:
        label = model.labels.index(candidate.label)
        expected = {
            text: entries[column] * weights.values[column, 0, label] * weights.scale[column, 0, 0]
            for text, column in word_columns(row)
        }
        assert {move.text for move in candidate.words} == {"bean", "house", "bean house"}
        assert {word.text: word.contribution for word in candidate.words} == pytest.approx(expected)


def test_model_without_a_reranker_has_no_log_odds(model, row):
    """As one that was trained on very little: only the linear score speaks."""
    bare = replace(
        model, booster_text="", calibration=replace(model.calibration, reranker=0.0, linear=1.0)
    )

    for candidate in explain(bare, row).candidates:
        assert candidate.log_odds is None
        assert candidate.features == ()
        assert candidate.bias == candidate.rest == 0


def test_explanation_has_the_merchant_and_its_built_in_category(model):
    explanation = explain(model, features_of(RawTransaction(merchant="TIM HORTONS #2392")))

    assert explanation.merchant == "tim hortons"
    assert explanation.match == ("Coffee", "brand", "Tim Hortons")


def test_explanations_in_many_threads_equal_those_in_one(model):
    expected = [explain(model, row) for row in ROWS]
    fresh = Model.from_files(model.to_files())

    with ThreadPoolExecutor(8) as pool:
        explanations = list(pool.map(lambda row: explain(fresh, row), ROWS * 25))

    assert explanations == expected * 25


def test_explaining_leaves_no_merchant_text_in_the_model(model):
    """The words of an explanation come from the row alone."""
    for row in ROWS:
        explain(model, row)
    files = model.to_files()
    with np.load(io.BytesIO(files["arrays.npz"])) as archive:
        stored = [*files.values(), *(archive[name].tobytes() for name in archive)]

    for word in (b"bean", b"house", b"petrol", b"fresh", b"nobody"):
        assert not any(word in content.lower() for content in stored)


def test_reason_names_what_the_user_called_this_shop_before():
    """The closed label is the owner's alone; the others are told by words."""
    rows, labels = [], []
    for user in ("ada", "bob", "eve"):
        for shop, label in (("night clinic", f"care of {user}"), ("corner grocer", "food")):
            row = features_of(RawTransaction(merchant=shop, amount=-9, user_id=user))
            rows += [row] * 10
            labels += [label] * 10
    model = fit.fit(rows, labels)

    again = features_of(RawTransaction(merchant="night clinic", amount=-9, user_id="ada"))
    elsewhere = again._replace(line="new place", merchant="new place")

    assert model.predict(again).label == "care of ada"
    assert own_name(model, again, "care of ada") == "you call this shop care of ada"
    assert own_name(model, elsewhere, "care of ada") == "one of your own categories"
    assert own_name(model, elsewhere, "food") == ""
    assert {it.label for it in explain(model, again).candidates} == {"care of ada", "food"}
    assert {it.label for it in explain(model, again._replace(user_id="x")).candidates} == {"food"}
