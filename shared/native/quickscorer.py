"""A LightGBM forest as arrays that the kernel reads: the same scores in a fifth of the time.

Source of the rules: NumericalDecision in LightGBM's include/LightGBM/tree.h; of the algorithm,
QuickScorer: see kernel.c.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.native import library

IntArray = NDArray[np.int32]

LEAVES = 32  # of a tree at most
FEATURES_MAX = 1024
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a split's kind; above them, what counts as missing
_MISSING_SHIFT = 2
_MISSING = {0: "nothing: NaN is read as 0", 2: "NaN"}


class _Splits(NamedTuple):
    """Of all trees, one after the other; parallel arrays."""

    tree: IntArray
    place: NDArray[np.int64]  # within its tree
    feature: IntArray
    kind: IntArray
    threshold: NDArray[np.float64]
    left: IntArray  # a split of the same tree, or ~leaf
    right: IntArray


class _Config(ctypes.Structure):
    """`forest` in kernel.c."""

    _fields_ = (
        ("trees", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("starts", ctypes.c_void_p),
        ("thresholds", ctypes.c_void_p),
        ("tree", ctypes.c_void_p),
        ("right", ctypes.c_void_p),
        ("nan_is_zero", ctypes.c_void_p),
        ("nan_is_left", ctypes.c_void_p),
        ("leaves", ctypes.c_void_p),
    )


class QuickScorer:
    """A forest as flat arrays; any number of threads may use it at once.

    Args:
        text: as LightGBM wrote it.

    Raises:
        ValueError: it has what is not read here: splits by category, linear leaves, several
            classes, trees of more than LEAVES leaves, zero as missing.
    """

    def __init__(self, text: str) -> None:
        head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
        fields = _fields(head)
        if fields["num_tree_per_iteration"] != "1" or not blocks:
            raise ValueError("not one tree an iteration")
        self.width, self._trees = int(fields["max_feature_idx"]) + 1, len(blocks)
        if self.width > FEATURES_MAX:
            raise ValueError(f"{self.width} features")
        trees = list(map(_fields, blocks))
        values, splits = _leaves(trees), _splits(trees)
        order, on_left = _from_left_to_right(splits, len(trees))
        leaves = np.zeros_like(values)
        np.put_along_axis(leaves, order, values, axis=1)
        missing = splits.kind >> _MISSING_SHIFT
        if (splits.kind & _CATEGORICAL).any() or not np.isin(missing, list(_MISSING)).all():
            raise ValueError("a split of a kind that has zero for what is missing")
        nan_is_zero = np.zeros(self.width, dtype=np.bool_)
        nan_is_zero[splits.feature] = missing == 0  # it is one thing to all splits of a feature
        by = np.lexsort((splits.threshold, splits.feature))
        self._kept = [
            np.searchsorted(splits.feature[by], np.arange(self.width + 1)).astype(np.int32),
            _not_above(splits.threshold[by]),
            splits.tree[by],
            ~on_left[by],
            nan_is_zero,
            (splits.kind[by] & _DEFAULT_LEFT) != 0,
            leaves,
        ]
        addresses = [array.ctypes.data for array in self._kept]
        self._judge = library.NativeFunction(
            "judge", _Config(len(blocks), self.width, *addresses), 4
        )

    def raw_scores(self, lines: NDArray[np.float32], group: int = 1) -> NDArray[np.float64]:
        """The sum of the trees for each line, shape (n, f) to (n,).

        Lines come in groups of *group*, the candidates of one row. What all lines of a group share
        is evaluated once.
        """
        if lines.shape[1] != self.width:
            raise ValueError(f"{lines.shape[1]} features, {self.width} expected")
        lines = np.ascontiguousarray(lines, dtype=np.float32)
        answers = np.empty(len(lines), dtype=np.float64)
        reach = np.empty(2 * self._trees, dtype=np.uint32)
        if len(lines):
            self._judge(len(lines), array("q", (group,)), lines, reach, answers)
        return answers


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def _leaves(trees: Sequence[dict[str, str]]) -> NDArray[np.float64]:
    """The value of each leaf, shape (trees, LEAVES); 0 where there is none."""
    if any(fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0" for fields in trees):
        raise ValueError("a split by category, or a linear leaf")
    sizes = _sizes([fields["leaf_value"] for fields in trees])
    if (most := sizes.max()) > LEAVES:
        raise ValueError(f"a tree of {most} leaves")
    values = np.zeros((len(trees), LEAVES))
    values[np.arange(LEAVES) < sizes[:, None]] = _numbers(
        [fields["leaf_value"] for fields in trees], np.float64
    )
    return values


def _splits(trees: Sequence[dict[str, str]]) -> _Splits:
    grown = [tree for tree, fields in enumerate(trees) if " " in fields["leaf_value"]]

    def of_all(name: str, dtype: type[np.generic] = np.int32) -> NDArray[Any]:
        return _numbers([trees[tree][name] for tree in grown], dtype)

    if not grown:
        raise ValueError("no tree has a split")
    sizes = _sizes([trees[tree]["threshold"] for tree in grown])
    if (sizes != _sizes([trees[tree]["leaf_value"] for tree in grown]) - 1).any():
        raise ValueError("not one leaf more than splits")
    ends = np.cumsum(sizes)
    return _Splits(
        tree=np.repeat(np.array(grown, dtype=np.int32), sizes),
        place=np.arange(sizes.sum()) - np.repeat(ends - sizes, sizes),
        feature=of_all("split_feature"),
        kind=of_all("decision_type"),
        threshold=of_all("threshold", np.float64),
        left=of_all("left_child"),
        right=of_all("right_child"),
    )


def _sizes(lines: Sequence[str]) -> NDArray[np.int64]:
    return np.array([line.count(" ") + 1 for line in lines], dtype=np.int64)


def _numbers(lines: Sequence[str], dtype: type[np.generic]) -> NDArray[Any]:
    return np.fromstring(" ".join(lines), dtype, sep=" ")


def _from_left_to_right(
    splits: _Splits, trees: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """The position of each leaf from the left, (trees, LEAVES), and the leaves left of each split.

    The latter are bits. LightGBM numbers a split before those below it, so one pass over the split
    numbers serves all trees.
    """
    for child in (splits.left, splits.right):
        if ((child >= 0) & (child <= splits.place)).any() or not (abs(child) <= LEAVES).all():
            raise ValueError("a split that is not below the one it belongs to")
    levels = [np.flatnonzero(splits.place == place) for place in range(LEAVES - 1)]
    below = np.zeros((trees, LEAVES), dtype=np.int64)  # how many leaves there are, of each split
    first = np.zeros((trees, LEAVES), dtype=np.int64)  # the leftmost of them
    order = np.tile(np.arange(LEAVES, dtype=np.int64), (trees, 1))
    on_left = np.zeros(splits.tree.size, dtype=np.int64)

    def leaves_of(at: NDArray[np.intp], child: IntArray) -> NDArray[np.int64]:
        return np.where(child[at] < 0, 1, below[splits.tree[at], child[at]])

    for at in reversed(levels):
        both = leaves_of(at, splits.left) + leaves_of(at, splits.right)
        below[splits.tree[at], splits.place[at]] = both
    for at in levels:
        start, size = first[splits.tree[at], splits.place[at]], leaves_of(at, splits.left)
        on_left[at] = ((1 << size) - 1) << start
        for child, begin in ((splits.left[at], start), (splits.right[at], start + size)):
            leaf = child < 0
            order[splits.tree[at[leaf]], ~child[leaf]] = begin[leaf]
            first[splits.tree[at[~leaf]], child[~leaf]] = begin[~leaf]
    return order, on_left.astype(np.uint32)


def _not_above(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each: no float32 lies between the two."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
