"""What the layers of suggestions would have said of labelled rows, in time order."""

from __future__ import annotations

import numpy as np
import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from worker.training.layer_answers import (
    HistoryReplay,
    replay_cold_start,
    replay_history,
    replay_priors,
)
from worker.training.thresholds import fit_memory_threshold


def bought(*merchants: str, user: str = "ada") -> list[FeatureRow]:
    return [features_of(RawTransaction(merchant=name, user_id=user)) for name in merchants]


def decides(history: HistoryReplay) -> list[bool]:
    """Whether merchant history alone would have decided."""
    answers = history.answers
    threshold = fit_memory_threshold(history, 0.9).memory
    decided: list[bool] = ((answers.labels != "") & (answers.confidence >= threshold)).tolist()
    return decided


def test_memory_layer_needs_an_earlier_label_of_the_merchant() -> None:
    steady, torn = ["KRONTAL"] * 40, ["ZORBLAX"] * 40
    rows = bought(*steady, *torn)
    history = replay_history(rows, ["Fun"] * 40 + ["Toys", "Gifts"] * 20)

    answered = decides(history)

    assert not answered[0]
    assert all(answered[3:40])
    assert not any(answered[46:])
    assert history.differs.tolist() == [False] * 42 + [True] * 38


def test_label_of_one_user_is_no_memory_of_another() -> None:
    rows = bought("KRONTAL", user="ada") + bought("KRONTAL", user="bob")

    assert replay_history(rows, ["Fun", "Fun"]).answers.labels.tolist() == ["", ""]


def test_label_of_a_payment_service_is_repeated_for_the_same_description_only() -> None:
    shops = ["songs", "shoes"] * 20
    rows = [features_of(RawTransaction(merchant="PayPal", description=it)) for it in shops]

    history = replay_history(rows, ["Music", "Clothes"] * 20)

    assert decides(history) == [False] * 2 + [True] * 38


def test_rate_of_the_label_given_last_is_learned_apart() -> None:
    """Four of five labels are the one before."""
    stays = np.random.default_rng(7).uniform(size=2_000) < 0.8
    labels = np.where(np.cumsum(~stays) % 2, "Toys", "Gifts").tolist()

    _, (older, newest) = replay_history(bought(*["ZORBLAX"] * stays.size), labels).rates

    assert newest[4][1] == pytest.approx(0.8, abs=0.05)
    assert older[4][1] == pytest.approx(0.2, abs=0.05)


def test_prior_is_the_label_of_enough_other_users_with_one_vote_each() -> None:
    users = ["ada", "ada", "bob", "cyd", "dan", "dan"]
    rows = [row for user in users for row in bought("KRONTAL", user=user)]

    answers = replay_priors(rows, ["Fun", "Fun", "Fun", "Fun", "Fun", "Fun"], min_users=3)

    assert answers.labels.tolist() == ["", "", "", "", "fun", "fun"]
    assert answers.confidence[4:].tolist() == [3 / 4, 3 / 4]
    assert answers.right[4:].all()


def test_other_users_say_nothing_of_what_is_behind_a_payment_service() -> None:
    rows = [row for user in ("ada", "bob", "cyd", "dan") for row in bought("PayPal", user=user)]

    assert set(replay_priors(rows, ["Fun"] * 4, min_users=3).labels) == {""}


def test_cold_start_knows_the_labels_of_the_same_user_until_then() -> None:
    rows = bought("STARBUCKS 1", "COSTA COFFEE", "STARBUCKS 2") + bought("STARBUCKS", user="bob")

    answers = replay_cold_start(rows, ["Treats", "Treats", "Treats", "Treats"], count=2)

    assert answers.labels.tolist() == ["treats", "coffee"]
    assert answers.right.tolist() == [True, False]
    assert answers.confidence[0] > answers.confidence[1]
