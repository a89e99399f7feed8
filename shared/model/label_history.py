"""Label history: how often each label was given for a merchant, description, word and so on.

The tables hold 64-bit keyed hashes, never a text, sorted for binary search. Each model has its own
key, so hashes of one model say nothing about another. With the whole model one can test a guess.

Keys that users share count open labels alone (worker/training/open_labels.py); a closed label is
found only by the keys of its users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.features.extract import FeatureRow
from shared.features.keyed_hash import keyed_hash
from shared.text.cache import cached

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]
KeyArray = NDArray[np.uint64]

HISTORY_KEYS = (
    "merchant",
    "canonical",
    "first word",
    "merchant + amount",
    "description",
    "mcc",
    "kind",  # category of the shop, by brand, merchant category code or keyword
    # What one user calls things; no other user has these keys:
    "user",
    "user + merchant",
    "user + canonical",
    "user + first word",
    "user + kind",
    "user + linear label",  # what all users' labels would make of the row; see `add_own_keys`
)
USER, USER_LINEAR = HISTORY_KEYS.index("user"), HISTORY_KEYS.index("user + linear label")
OWN_PAIRS = {  # the keys of a user and of another key: their slots
    HISTORY_KEYS.index(f"user + {key}"): HISTORY_KEYS.index(key)
    for key in ("merchant", "canonical", "first word", "kind")
}
WORDS = 12  # of the merchant and of the description, the first six each
SLOTS = len(HISTORY_KEYS) + WORDS
IS_OWN = np.array([USER <= slot < len(HISTORY_KEYS) for slot in range(SLOTS)])  # keys of one user

NO_KEY = 0
LAST_KEY = 2**64 - 1  # ends the sorted keys; stands for every missing key
MAX_LABELS_PER_KEY = 6  # that vote for candidates

LABEL_MARGIN = np.float32(1e-4)

_EACH = WORDS // 2
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_NO_PAIRS = (NO_KEY,) * (len(HISTORY_KEYS) - USER - 1)


def history_keys(row: FeatureRow, category: str, hash_key: bytes) -> tuple[int, ...]:
    """The SLOTS hashes by which *row* is looked up; NO_KEY where it lacks the text.

    The keys of a user and something else are added later, by `add_own_keys`.

    *category* is its likely one, or ''; *hash_key* is the key of the hashes, up to 64 bytes.
    """
    exact = _word_key(row.line, "merchant", hash_key) if row.line else NO_KEY
    canonical, first, *words = _merchant_keys(row.merchant, hash_key)
    amount = (
        NO_KEY
        if row.amount is None or not row.line
        else _key(f"{row.line}\x1f{row.amount:.2f}", "amount", hash_key)
    )
    description, *memo = _description_keys(row.norm_desc, hash_key)
    mcc = _word_key(row.mcc, "mcc", hash_key) if row.mcc else NO_KEY
    kind = _word_key(category, "kind", hash_key) if category else NO_KEY
    user = _word_key(row.user_id, "user", hash_key) if row.user_id else NO_KEY
    shared = (exact, canonical, first, amount, description, mcc, kind)
    return (*shared, user, *_NO_PAIRS, *words, *memo)


def add_own_keys(keys: KeyArray, votes: FloatArray | None = None) -> KeyArray:
    """*keys*, shape (n, SLOTS), with those of a user and something else.

    One of them stands for the user's rows that the linear models label alike, whose *votes* have
    the shape (n, D). So the history learns that what is Office to all is Materials to this user.
    The label is the first one whose votes are within LABEL_MARGIN of the most: rounding must not
    decide between equals.
    """
    added = keys.copy()
    users, has_user = keys[:, USER], keys[:, USER] != NO_KEY
    for slot, of in OWN_PAIRS.items():
        is_pair = has_user & (keys[:, of] != NO_KEY)
        added[:, slot] = np.where(is_pair, pair_keys(users, keys[:, of]), NO_KEY)
    if votes is not None:
        label = (votes >= votes.max(axis=1, keepdims=True) - LABEL_MARGIN).argmax(axis=1)
        added[:, USER_LINEAR] = np.where(has_user, pair_keys(users, label + 1), NO_KEY)
    return added


def pair_keys(users: KeyArray, keys: NDArray[np.integer]) -> KeyArray:
    """The users' own keys for what *keys* stand for, none of them NO_KEY; both of shape (n,).

    Source: the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
    """
    mixed: KeyArray = users + keys.astype(np.uint64) * np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX_1)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX_2)
    mixed ^= mixed >> np.uint64(31)
    return mixed.clip(NO_KEY + 1, LAST_KEY - 1)


@dataclass(slots=True)
class LabelHistory:
    """Label counts by key, in parallel arrays of e entries, sorted by key, then label.

    Attributes:
        label_count: K, how many labels there are.
        keys: shape (m,), ascending, ending with LAST_KEY, which has no entries.
        starts: shape (m + 1,); entries starts[i]:starts[i + 1] belong to keys[i].
        labels: which label, shape (e,).
        count: how often, shape (e,).
        recent: the same, each occurrence weighted by its age, shape (e,).
        latest: whether the key's newest occurrence had this label, shape (e,).
        last_day: ordinal of the newest date with it, shape (e,).
        amount: mean signed log amount, shape (e,); NaN when none was known.
    """

    label_count: int
    keys: KeyArray
    starts: IntArray
    labels: IntArray
    count: FloatArray
    recent: FloatArray
    latest: NDArray[np.bool_]
    last_day: FloatArray
    amount: FloatArray

    # Derived from the above. The last entry stands for every missing pair.
    codes: NDArray[np.int64] = field(init=False, repr=False)
    pair_stats: FloatArray = field(init=False, repr=False)  # (e + 1, 4)
    pair_last: FloatArray = field(init=False, repr=False)  # (e + 1, 2): day, amount
    key_stats: FloatArray = field(init=False, repr=False)  # (m, 2): log total, entropy
    proposed: IntArray = field(init=False, repr=False)  # (m, MAX_LABELS_PER_KEY), K where empty
    proposed_share: FloatArray = field(init=False, repr=False)  # likewise, 0 where empty

    def __post_init__(self) -> None:
        k, m, e = self.label_count, self.keys.size, self.labels.size
        sizes = np.diff(self.starts)
        key = np.repeat(np.arange(m), sizes)
        total = np.bincount(key, self.count, minlength=m)
        recent_total = np.bincount(key, self.recent, minlength=m)
        share = self.recent / recent_total[key]
        entropy = np.bincount(key, -share * np.log(np.maximum(share, 1e-30)), minlength=m)

        self.codes = np.append(key * k + self.labels, np.iinfo(np.int64).max)
        self.pair_stats = np.zeros((e + 1, 4), dtype=np.float32)
        self.pair_stats[:e] = np.column_stack(
            (self.count / total[key], share, np.log1p(self.count), self.latest)
        )
        self.pair_last = np.full((e + 1, 2), np.nan, dtype=np.float32)
        self.pair_last[:e] = np.column_stack((self.last_day, self.amount))
        self.key_stats = np.column_stack((np.log1p(recent_total), entropy)).astype(np.float32)
        self.key_stats[-1] = np.nan

        rank = np.arange(e) - np.repeat(self.starts[:-1], sizes)
        is_best = rank < MAX_LABELS_PER_KEY
        best = np.lexsort((-share, key))[is_best]
        index = key[best], rank[is_best]
        self.proposed = np.full((m, MAX_LABELS_PER_KEY), k, dtype=np.int32)
        self.proposed[index] = self.labels[best]
        self.proposed_share = np.zeros((m, MAX_LABELS_PER_KEY), dtype=np.float32)
        self.proposed_share[index] = share[best]

    def find(self, keys: KeyArray) -> NDArray[np.int64]:
        """The position of each key, shape as *keys*; that of LAST_KEY for a missing one."""
        at = self.keys.searchsorted(keys)
        return np.where(self.keys[at] == keys, at, self.keys.size - 1)

    def labels_of(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], IntArray]:
        """All labels of the n keys at these positions: which of the keys, and the label."""
        sizes = self.starts[positions + 1] - self.starts[positions]
        key = np.repeat(np.arange(positions.size), sizes)
        within = np.arange(key.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return key, self.labels[self.starts[positions][key] + within]

    def find_pairs(
        self, positions: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The entry of each (key, label) pair; e for a missing one.

        Args:
            positions: of the keys, shape (n, s).
            labels: shape (n, c).

        Returns:
            Indices into pair_stats and pair_last, shape (n, c, s).
        """
        codes = positions[:, None, :] * self.label_count + labels[:, :, None]
        at = self.codes.searchsorted(codes)
        return np.where(self.codes[at] == codes, at, self.labels.size)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All arrays that a file must hold."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(
        cls, label_count: int, arrays: Mapping[str, NDArray[np.generic]]
    ) -> LabelHistory:
        return cls(label_count, **{name: arrays[name] for name in _ARRAYS})  # type: ignore[arg-type]


_ARRAYS = ("keys", "starts", "labels", "count", "recent", "latest", "last_day", "amount")


def _key(text: str, kind: str, hash_key: bytes) -> int:
    """The keyed hash of *text*; never NO_KEY or LAST_KEY."""
    return min(max(keyed_hash(text, kind, hash_key), NO_KEY + 1), LAST_KEY - 1)


@cached(8_192)
def _word_key(text: str, kind: str, hash_key: bytes) -> int:
    return _key(text, kind, hash_key)


@cached(4_096)
def _merchant_keys(merchant: str, hash_key: bytes) -> tuple[int, ...]:
    """The keys of the first three words without digits, of the first word, and of each word."""
    if not merchant:
        return (NO_KEY,) * (2 + _EACH)
    words = merchant.split()
    names = [word for word in words if not any(map(str.isdigit, word))] or words
    return (
        _key(" ".join(names[:3]), "canonical", hash_key),
        _word_key(names[0], "first", hash_key),
        *_word_keys(words, hash_key),
    )


def _description_keys(description: str, hash_key: bytes) -> tuple[int, ...]:
    """The keys of the first six words together, then of each."""
    if not description:
        return (NO_KEY,) * (1 + _EACH)
    words = description.split(maxsplit=_EACH)[:_EACH]
    return _key(" ".join(words), "description", hash_key), *_word_keys(words, hash_key)


def _word_keys(words: Sequence[str], hash_key: bytes) -> tuple[int, ...]:
    first = [_word_key(word, "word", hash_key) for word in words[:_EACH]]
    return (*first, *[NO_KEY] * (_EACH - len(first)))
