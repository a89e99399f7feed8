"""Label history: which keys a row is looked up by, and what is stored for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.features.brands import likely_category
from shared.features.extract import RawTransaction, features_of
from shared.model.label_history import (
    HISTORY_KEYS,
    LAST_KEY,
    MAX_LABELS_PER_KEY,
    NO_KEY,
    SLOTS,
    LabelHistory,
    add_own_keys,
    history_keys,
    pair_keys,
)

HASH_KEY = b"one model"
LINEAR = "user + linear label"


def keys_of(merchant: str = "KRONTAL 12", hash_key: bytes = HASH_KEY, **known: Any) -> list[int]:
    row = features_of(RawTransaction(merchant=merchant, **{"amount": -9.5, **known}))
    keys = np.array([history_keys(row, likely_category(row), hash_key)], np.uint64)
    return [int(key) for key in add_own_keys(keys)[0]]


def named(keys: list[int]) -> dict[str, int]:
    return dict(zip(HISTORY_KEYS, keys, strict=False))


def a_history(entries: dict[int, dict[int, float]], label_count: int) -> LabelHistory:
    """Of the counts of each label of each key; all of them are of one day."""
    labels = [label for counts in entries.values() for label in sorted(counts)]
    count = [counts[label] for counts in entries.values() for label in sorted(counts)]
    sizes = [len(counts) for counts in entries.values()]
    return LabelHistory(
        label_count,
        np.array([*entries, LAST_KEY], dtype=np.uint64),
        np.cumsum([0, *sizes, 0], dtype=np.int32),
        np.array(labels, dtype=np.int32),
        np.array(count, dtype=np.float32),
        np.array(count, dtype=np.float32),
        np.zeros(len(labels), dtype=np.bool_),
        np.full(len(labels), 739_000, dtype=np.float32),
        np.full(len(labels), np.nan, dtype=np.float32),
    )


def test_keys_of_another_model_are_different() -> None:
    """So that the hashes of one model say nothing about another."""
    ours, others = keys_of(), keys_of(hash_key=b"another model")

    assert [key == NO_KEY for key in ours] == [key == NO_KEY for key in others]
    assert {*ours} & {*others} == {NO_KEY}


def test_row_has_a_key_for_each_slot_and_none_for_what_it_lacks() -> None:
    nothing = history_keys(features_of(RawTransaction()), "", HASH_KEY)
    whole = keys_of("STARBUCKS 12", description="coffee with bob", mcc="5814", user_id="ada")

    assert nothing == (NO_KEY,) * SLOTS
    assert len(whole) == SLOTS
    # The linear label is known only when the row has been scored.
    assert [name for name, key in named(whole).items() if key == NO_KEY] == ["user + linear label"]
    assert all(NO_KEY <= key < LAST_KEY for key in whole)


def test_branches_of_a_merchant_share_the_keys_of_its_name() -> None:
    here, there = named(keys_of("KRONTAL MARKET 12")), named(keys_of("KRONTAL MARKET 345"))

    assert here["canonical"] == there["canonical"]
    assert here["first word"] == there["first word"]
    assert here["merchant"] != there["merchant"]


def test_amount_is_part_of_one_key_alone() -> None:
    cheap, dear = named(keys_of(amount=-9.5)), named(keys_of(amount=-95.0))
    unknown = named(keys_of(amount=None))

    assert {name for name in HISTORY_KEYS if cheap[name] != dear[name]} == {"merchant + amount"}
    assert unknown["merchant + amount"] == NO_KEY


def test_word_has_one_key_in_merchant_and_description() -> None:
    words = len(HISTORY_KEYS)

    merchant, memo = keys_of("KRONTAL"), keys_of("ZORBLAX", description="krontal")

    assert merchant[words] != NO_KEY
    assert merchant[words] in memo[words:]
    assert merchant[words] != named(merchant)["first word"]


def test_missing_key_or_pair_has_the_last_position() -> None:
    history = a_history({10: {0: 3, 2: 1}, 20: {1: 2}}, 3)

    positions = history.find(np.array([[20, 10, 15, NO_KEY, LAST_KEY]], dtype=np.uint64))
    pairs = history.find_pairs(positions[:, :3], np.array([[0, 1, 2]]))

    assert positions.tolist() == [[1, 0, 2, 2, 2]]
    assert pairs.tolist() == [[[3, 0, 3], [2, 3, 3], [3, 1, 3]]]
    assert not history.pair_stats[3].any()
    assert np.isnan(history.pair_last[3]).all()
    assert np.isnan(history.key_stats[2]).all()


def test_shares_of_a_key_sum_to_one_and_entropy_says_how_mixed_its_labels_are() -> None:
    history = a_history({10: {0: 3, 2: 1}, 20: {1: 2}, 30: {0: 2, 1: 2}}, 3)

    assert history.pair_stats[:2, 0].tolist() == [0.75, 0.25]
    entropy = history.key_stats[:3, 1]
    assert entropy[1] == 0
    assert entropy[2] == pytest.approx(np.log(2))
    assert entropy[1] < entropy[0] < entropy[2]


def test_most_frequent_labels_of_a_key_are_proposed_first() -> None:
    counts = {label: float(1 + label) for label in range(8)}
    history = a_history({10: counts, 20: {4: 1.0}}, 8)

    total = sum(counts.values())
    assert history.proposed[0].tolist() == [7, 6, 5, 4, 3, 2]
    assert history.proposed_share[0] == pytest.approx([n / total for n in (8, 7, 6, 5, 4, 3)])
    assert history.proposed[1].tolist() == [4] + [8] * (MAX_LABELS_PER_KEY - 1)
    assert history.proposed_share[1].tolist() == [1.0] + [0.0] * (MAX_LABELS_PER_KEY - 1)


def test_history_read_from_its_arrays_is_the_same() -> None:
    history = a_history({10: {0: 3, 2: 1}, 20: {1: 2}}, 3)

    again = LabelHistory.from_arrays(3, history.arrays())

    assert np.array_equal(again.codes, history.codes)
    assert np.array_equal(again.pair_stats, history.pair_stats)
    assert np.array_equal(again.proposed, history.proposed)


def test_users_share_the_keys_of_a_shop_and_have_keys_of_their_own() -> None:
    ada, bob, nobody = (named(keys_of(user_id=user)) for user in ("ada", "bob", None))

    for name in HISTORY_KEYS:
        if name.startswith("user"):
            assert nobody[name] == NO_KEY
            assert ada[name] != bob[name] or ada[name] == NO_KEY
        else:
            assert ada[name] == bob[name] == nobody[name]


def test_key_of_a_user_and_a_shop_is_that_of_the_pair() -> None:
    keys = [named(keys_of(user_id=user)) for user in ("ada", "bob")]
    users, shops = (
        np.array([each[name] for each in keys], dtype=np.uint64) for name in ("user", "merchant")
    )

    assert pair_keys(users, shops).tolist() == [each["user + merchant"] for each in keys]


def test_rows_of_a_user_that_get_one_linear_label_share_a_key() -> None:
    keys = np.array([keys_of(user_id=user) for user in ("ada", "ada", "bob", None)], np.uint64)
    votes = np.array([[0.2, 0.9], [0.1, 0.8], [0.2, 0.9], [0.2, 0.9]], np.float32)

    first, same, other, nobody = add_own_keys(keys, votes)[:, HISTORY_KEYS.index(LINEAR)]
    another = add_own_keys(keys, votes[:, ::-1])[0, HISTORY_KEYS.index(LINEAR)]

    assert first == same
    assert len({first, other, another, NO_KEY}) == 4
    assert nobody == NO_KEY


def test_rounding_does_not_decide_between_equal_votes() -> None:
    keys = np.array([keys_of(user_id="ada")] * 2, np.uint64)
    votes = np.array([[0.5, 0.500001, 0.1], [0.500001, 0.5, 0.1]], np.float32)

    one, other = add_own_keys(keys, votes)[:, HISTORY_KEYS.index(LINEAR)]

    assert one == other
