"""LightGBM's text as arrays that a compiled loop reads: the same answers in a fifth of the time.

Source of the rules: NumericalDecision in LightGBM's include/LightGBM/tree.h; of the loop: see
kernel.c.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared import kernel

LEAVES = 32  # of a tree at most
FEATURES_MAX = 1024
_ALL = 2**LEAVES - 1
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a split's kind; above them, what counts as missing
_MISSING_SHIFT = 2
_MISSING = {0: "nothing: NaN is read as 0", 2: "NaN"}


class _Split(NamedTuple):
    feature: int
    threshold: float
    tree: int
    right: int  # a bit for each leaf that is not on the left
    nan_is_zero: bool
    nan_is_left: bool


class _About(ctypes.Structure):
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


class Trees:
    """A forest as flat arrays; any number of threads may ask at once.

    Args:
        text: as LightGBM wrote it.

    Raises:
        ValueError: it has what is not read here: splits by category, linear leaves, several
            classes, trees of more than LEAVES leaves, zero as missing.
    """

    def __init__(self, text: str) -> None:
        head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
        told = _told(head)
        if told["num_tree_per_iteration"] != "1" or not blocks:
            raise ValueError("not one tree an iteration")
        self.width, self._trees = int(told["max_feature_idx"]) + 1, len(blocks)
        if self.width > FEATURES_MAX:
            raise ValueError(f"{self.width} features")
        leaves = np.zeros((len(blocks), LEAVES))
        splits: list[_Split] = []
        for number, block in enumerate(blocks):
            values, found = _tree(number, _told(block))
            leaves[number, : len(values)] = values
            splits += found
        splits.sort(key=lambda split: (split.feature, split.threshold))
        feature, threshold, tree, right, is_zero, is_left = zip(*splits, strict=True)
        nan_is_zero = np.zeros(self.width, dtype=np.bool_)
        nan_is_zero[list(feature)] = is_zero  # it is one thing to all splits of a feature
        self._kept = [
            np.searchsorted(feature, np.arange(self.width + 1)).astype(np.int32),
            _not_above(np.array(threshold, dtype=np.float64)),
            np.array(tree, dtype=np.int32),
            np.array(right, dtype=np.uint32),
            nan_is_zero,
            np.array(is_left, dtype=np.bool_),
            leaves,
        ]
        addresses = [array.ctypes.data for array in self._kept]
        self._judge = kernel.Loop("judge", _About(len(blocks), self.width, *addresses), 4)

    def raw_scores(self, lines: NDArray[np.float32], group: int = 1) -> NDArray[np.float64]:
        """The sum of the trees for each line, shape (n, f) to (n,).

        *group* lines after each other have much in common, which saves time.
        """
        if lines.shape[1] != self.width:
            raise ValueError(f"{lines.shape[1]} features, {self.width} expected")
        lines = np.ascontiguousarray(lines, dtype=np.float32)
        answers = np.empty(len(lines), dtype=np.float64)
        reach = np.empty(2 * self._trees, dtype=np.uint32)
        if len(lines):
            self._judge(len(lines), np.array([group]), lines, reach, answers)
        return answers

    def hard_lines(self, groups: int, size: int) -> NDArray[np.float32]:
        """Made-up lines at which a wrong step shows, shape (groups, size, f).

        Thresholds of the splits, the floats next to them, and now and then nothing or zero; half of
        the values are alike in a group.
        """
        starts, thresholds, *_ = self._kept
        rng = np.random.default_rng(0)
        shape = groups, size, self.width
        sizes = np.diff(starts)
        at = starts[:-1] + (rng.random(shape) * sizes).astype(np.int64)
        values = thresholds[np.minimum(at, thresholds.size - 1)]
        side = rng.choice(np.array([-np.inf, np.inf], dtype=np.float32), shape)
        lines = np.where(rng.random(shape) < 0.5, values, np.nextafter(values, side))
        for odd in (np.nan, 0.0):
            lines[rng.random(shape) < 0.05] = odd
        is_alike = rng.random((groups, 1, self.width)) < 0.5
        made: NDArray[np.float32] = np.where(is_alike, lines[:, :1], lines).astype(np.float32)
        return made


def _told(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def _tree(number: int, tree: dict[str, str]) -> tuple[list[float], list[_Split]]:
    """The leaves' values from left to right, and the splits."""
    if tree["num_cat"] != "0" or tree.get("is_linear", "0") != "0":
        raise ValueError("a split by category, or a linear leaf")
    told = [float(value) for value in tree["leaf_value"].split()]
    if len(told) > LEAVES:
        raise ValueError(f"a tree of {len(told)} leaves")
    if len(told) == 1:  # it never found a split
        return told, []
    left, right, feature, kind = (
        [int(value) for value in tree[name].split()]
        for name in ("left_child", "right_child", "split_feature", "decision_type")
    )
    threshold = [float(value) for value in tree["threshold"].split()]
    order: list[int] = []  # of the leaves, from left to right
    splits: list[_Split] = []

    def walk(node: int) -> None:
        if node < 0:  # a leaf
            order.append(~node)
            return
        missing = kind[node] >> _MISSING_SHIFT
        if kind[node] & _CATEGORICAL or missing not in _MISSING:
            raise ValueError(f"a split of kind {kind[node]}")
        before = len(order)
        walk(left[node])
        on_left = (1 << len(order)) - (1 << before)
        splits.append(
            _Split(
                feature[node], threshold[node], number, _ALL & ~on_left,
                missing == 0, bool(kind[node] & _DEFAULT_LEFT),
            )
        )  # fmt: skip
        walk(right[node])

    walk(0)
    return [told[leaf] for leaf in order], splits


def _not_above(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each: no float32 lies between the two."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
