"""Which labels are open, and the order in which a candidate generator holds them.

A label is open if enough users use it, or the operator declared it: every user may be told it. A
closed label is for its users alone. Without any users, all labels are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.model.label_history import NO_KEY, KeyArray

# Columns of the linear models: a label costs 0.8 MB of memory in training. Closed labels fill up to
# the second number: what one user calls a shop tells something of what another calls it.
OPEN_COLUMNS, CLOSED_COLUMNS = 1_000, 300

LabelArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelSharing:
    """A label is open if so many *users* use it, always for 1, or if it is *declared*, folded."""

    users: int = 3
    declared: frozenset[str] = frozenset()


class LabelOrder(NamedTuple):
    """The K labels of some rows, in a generator's order: open with columns, closed with, others."""

    ids: LabelArray  # (K,) which labels
    rows: LabelArray  # (n,) of each row, the place of its label in `ids`
    is_open: NDArray[np.bool_]  # (K,)
    column_count: int  # D


def order_labels(
    labels: LabelArray, users: KeyArray, names: Sequence[str], sharing: LabelSharing
) -> LabelOrder:
    """Order the labels that occur, the frequent first.

    Args:
        labels: of each of n rows, an index into *names*.
        users: the key of the user of each, or NO_KEY.
        names: all labels, folded.
    """
    ids, rows, counts = np.unique(labels, return_inverse=True, return_counts=True)
    is_open = _users_of(rows, users, ids.size) >= sharing.users
    is_open |= np.array([names[it] in sharing.declared for it in ids.tolist()], dtype=np.bool_)
    if sharing.users == 1 or not (users != NO_KEY).any():
        is_open[:] = True
    by_count = np.lexsort((ids, -counts))
    first = by_count[is_open[by_count]][:OPEN_COLUMNS]
    closed = by_count[~is_open[by_count]]
    second = closed[: max(0, CLOSED_COLUMNS - first.size)]
    has_column = np.zeros(ids.size, dtype=np.bool_)
    has_column[first] = has_column[second] = True
    # Sorted by name within each part: more rows of one label do not change the order of all.
    parts = np.sort(first), np.sort(second), np.flatnonzero(~has_column)
    order = np.concatenate(parts)
    place = np.empty(ids.size, dtype=np.int64)
    place[order] = np.arange(ids.size)
    return LabelOrder(ids[order], place[rows], is_open[order], first.size + second.size)


def _users_of(labels: LabelArray, users: KeyArray, label_count: int) -> NDArray[np.intp]:
    """How many users use each label, shape (label_count,)."""
    known = users != NO_KEY
    pairs = np.unique(np.column_stack((labels[known].astype(np.uint64), users[known])), axis=0)
    return np.bincount(pairs[:, 0].astype(np.int64), minlength=label_count)
