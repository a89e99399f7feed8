"""QuickScorer: the trees of a LightGBM model in C, with the same scores in a fifth of the time.

Source of the rules: NumericalDecision in LightGBM's include/LightGBM/tree.h; of the algorithm: see
kernel.c.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from shared.native.library import NativeFunction

MAX_LEAVES = 32  # of a tree
MAX_FEATURES = 1024
_ALL_LEAVES = 2**MAX_LEAVES - 1
# Bits of a split's decision_type; the bits above them say which value is missing.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
_NONE_MISSING, _NAN_MISSING = 0, 2  # with the first, NaN is read as 0

_Split = tuple[int, float, int, int, int, bool]  # as the arrays in `forest` of kernel.c


class QuickScorer:
    """The trees of a model as flat arrays; any number of threads may use them at once.

    Args:
        text: the model as LightGBM wrote it.

    Raises:
        ValueError: the model has something that is not supported: splits by category, linear
            leaves, several classes, trees of more than MAX_LEAVES leaves, zero as missing value.
    """

    def __init__(self, text: str) -> None:
        header, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
        fields = _fields(header)
        if fields["num_tree_per_iteration"] != "1" or not blocks:
            raise ValueError("not one tree an iteration")
        self.width, self._tree_count = int(fields["max_feature_idx"]) + 1, len(blocks)
        if self.width > MAX_FEATURES:
            raise ValueError(f"{self.width} features")
        leaves = np.zeros((len(blocks), MAX_LEAVES))
        splits: list[_Split] = []
        for tree, block in enumerate(blocks):
            splits += _walk(tree, _fields(block), leaves[tree])
        if not splits:
            raise ValueError("no tree has a split")
        splits.sort()
        feature, threshold, owner, reachable, missing, default_left = zip(*splits, strict=True)
        nan_is_zero = np.zeros(self.width, dtype=np.bool_)
        # All splits of a feature agree on what is missing.
        nan_is_zero[list(feature)] = np.equal(missing, _NONE_MISSING)
        config = (
            self._tree_count,
            self.width,
            np.searchsorted(feature, np.arange(self.width + 1)).astype(np.int32),
            _round_down(np.array(threshold)),
            np.array(owner, dtype=np.int32),
            np.array(reachable, dtype=np.uint32),
            nan_is_zero,
            np.array(default_left, dtype=np.bool_),
            leaves,
        )
        self._score = NativeFunction("score_rows", config, 4)

    def scores(self, rows: NDArray[np.float32], group: int = 1) -> NDArray[np.float64]:
        """The sum of the trees for each row, shape (n, f) to (n,).

        Rows come in groups of *group*, the candidates of one transaction. Features that are equal
        in a group are evaluated once.
        """
        if rows.shape[1] != self.width:
            raise ValueError(f"{rows.shape[1]} features, {self.width} expected")
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        scores = np.empty(len(rows), dtype=np.float64)
        scratch = np.empty(2 * self._tree_count, dtype=np.uint32)
        if len(rows):
            self._score(len(rows), array("q", (group,)), rows, scratch, scores)
        return scores


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def _walk(tree: int, fields: Mapping[str, str], leaves: NDArray[np.float64]) -> Iterator[_Split]:
    """Yield the splits of a tree, and write its leaves to *leaves*, from left to right."""
    if fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError("a split by category, or a linear leaf")
    values = [float(value) for value in fields["leaf_value"].split()]
    if len(values) > MAX_LEAVES:
        raise ValueError(f"a tree of {len(values)} leaves")
    if len(values) == 1:
        leaves[0] = values[0]
        return
    features, kinds, left, right = (
        [int(value) for value in fields[name].split()]
        for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    thresholds = [float(value) for value in fields["threshold"].split()]
    nodes = list(zip(features, thresholds, kinds, left, right, strict=True))
    if len(nodes) != len(values) - 1:
        raise ValueError("not one leaf more than splits")
    count = 0

    def visit(node: int) -> Iterator[_Split]:
        nonlocal count
        if node < 0:  # ~leaf
            leaves[count] = values[~node]
            count += 1
            return
        feature, threshold, kind, *children = nodes[node]
        missing = kind >> _MISSING_SHIFT
        if kind & _CATEGORICAL or missing not in (_NONE_MISSING, _NAN_MISSING):
            raise ValueError("a split of a kind that has zero for what is missing")
        if not all(node < child < len(nodes) or -len(values) <= child < 0 for child in children):
            raise ValueError("a split that is not below the one it belongs to")
        first = count
        yield from visit(children[0])
        on_left = (1 << count) - (1 << first)
        yield feature, threshold, tree, _ALL_LEAVES ^ on_left, missing, bool(kind & _DEFAULT_LEFT)
        yield from visit(children[1])

    yield from visit(0)


def _round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each value: no float32 lies between the two."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
