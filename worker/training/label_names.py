"""The names of labels: which spellings are one label, and how each user spells it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from shared.model.label_history import NO_KEY, KeyArray
from shared.model.spellings import Spellings, fold_label, spelling_keys
from worker.training.open_labels import LabelArray, LabelOrder


class LabelNames(NamedTuple):
    """The different labels of n rows."""

    folded: tuple[str, ...]  # ascending
    usual: tuple[str, ...]  # the most frequent spelling of each, of equals the first
    ids: LabelArray  # (n,) of each row, an index into these


def name_labels(labels: Sequence[str]) -> LabelNames:
    """Number labels by their folded form."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for spelling, count in sorted(Counter(labels).items()):
        spellings[fold_label(spelling)][spelling] += count
    folded = tuple(sorted(spellings))
    number = {name: index for index, name in enumerate(folded)}
    of_spelling = {it: number[name] for name, counts in spellings.items() for it in counts}
    usual = tuple(spellings[name].most_common(1)[0][0] for name in folded)
    return LabelNames(folded, usual, np.array([of_spelling[it] for it in labels], dtype=np.int64))


def find_spellings(
    labels: Sequence[str], names: LabelNames, users: KeyArray, order: LabelOrder
) -> Spellings:
    """The spellings of users that are not the usual one, each the newest of that user.

    Args:
        labels: of n rows, the earliest first.
        users: the key of the user of each row, or NO_KEY.
        order: of the same rows.
    """
    newest: dict[tuple[int, int], str] = {}
    rows = zip(labels, users.tolist(), order.rows.tolist(), names.ids.tolist(), strict=True)
    for spelling, user, label, name in rows:
        if user != NO_KEY and (spelling != names.usual[name] or (user, label) in newest):
            newest[user, label] = spelling
    usual = [names.usual[it] for it in order.ids.tolist()]
    other = {pair: it for pair, it in newest.items() if it != usual[pair[1]]}
    texts = tuple(sorted(set(other.values())))
    if not texts:
        return Spellings()
    which = {text: index for index, text in enumerate(texts)}
    of_users, of_labels = zip(*other, strict=True)
    keys = spelling_keys(np.array(of_users, np.uint64), np.array(of_labels, np.int64))
    sort = keys.argsort()
    named = np.array([which[it] for it in other.values()], dtype=np.int32)
    return Spellings(texts, keys[sort], named[sort])
