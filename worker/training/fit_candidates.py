"""Fits the candidate generator: softmax regression, Naive Bayes and label history."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shared.features.encoder import AMOUNT_BINS, WIDTH, Encoder
from shared.features.extract import CHANNELS
from shared.model.candidates import UNKNOWN_DAY, WEEKDAYS, CandidateGenerator, EncodedRows
from shared.model.label_history import (
    IS_OWN,
    LAST_KEY,
    NO_KEY,
    KeyArray,
    LabelHistory,
    add_own_keys,
)
from shared.model.linear import QuantizedWeights, softmax
from worker.training.open_labels import LabelArray, LabelOrder

HALF_LIFE_DAYS = 180.0
OLDEST_DAYS = 3650.0  # older rows weigh as much as these: never nothing
EPOCHS, MAX_EPOCHS = 3, 15
MIN_ROWS = 60_000  # over all epochs; a small set gets more epochs, up to MAX_EPOCHS
CHUNK = 4_096  # rows scored at once
BATCH = 512  # rows; of a small set a twentieth, at least MIN_BATCH
MIN_BATCH = 16
LEARNING_RATE = 0.15  # at first; falls to 0 at the end
CACHED = 2**18  # weights updated at once, a megabyte of them: they fit the cache of a core
BAYES_SMOOTHING = 0.1
RATIO_SMOOTHING = 5.0  # rows of the overall distribution added to each label's own

FloatArray = NDArray[np.float32]


def fit_generator(
    inputs: EncodedRows, order: LabelOrder, tick: Callable[[], None]
) -> CandidateGenerator:
    """Fit every scorer on the same rows, at least one, the earliest first.

    The linear models are fitted on the rows whose label has a column.

    Args:
        order: of the rows' labels.
        tick: called now and then; may raise to end the work.
    """
    encoder = Encoder.fitted(inputs.text)
    whole = encoder.weigh(inputs.text)
    column_count, rows = order.column_count, order.rows
    has_column = rows < column_count
    is_whole = bool(has_column.all())
    matrix, labels = (whole, rows) if is_whole else (whole[has_column], rows[has_column])
    targets = csr_array(
        (np.ones(labels.size, np.float32), (np.arange(labels.size), labels)),
        shape=(labels.size, column_count),
    )
    weights = np.empty((WIDTH, 2, column_count), dtype=np.float32)
    weights[:, 0] = _softmax_regression(matrix, labels, column_count, tick)
    tick()
    weights[:, 1] = _naive_bayes(matrix, targets)
    days = inputs.rows["day"][inputs.rows["day"] != UNKNOWN_DAY]
    # Not the latest date: one row dated years ahead would make all others equally old.
    today = np.quantile(days, 0.99) if days.size else 0
    age = today - np.where(inputs.rows["day"] == UNKNOWN_DAY, today, inputs.rows["day"])
    recent = np.exp2(-np.clip(age, 0, OLDEST_DAYS) / HALF_LIFE_DAYS)
    log_prior = _log_prior(labels, column_count)
    keys = _add_own_keyss(inputs.rows["keys"], whole, weights, log_prior)
    history = _history(inputs, keys, order, recent)
    tick()
    of_columns = inputs.rows if is_whole else inputs.rows[has_column]
    return CandidateGenerator(
        encoder,
        QuantizedWeights.of(weights),
        history,
        log_prior,
        _ratio(of_columns["amount_bin"], AMOUNT_BINS, labels, column_count),
        _ratio(of_columns["weekday"], WEEKDAYS, labels, column_count),
        _ratio(of_columns["channel"], len(CHANNELS), labels, column_count),
        order.is_open,
    )


def _softmax_regression(
    matrix: csr_array, labels: LabelArray, label_count: int, tick: Callable[[], None]
) -> FloatArray:
    """Weights of multinomial logistic regression, shape (WIDTH, K).

    Stochastic gradient descent with a step size for each column (AdaGrad), which rare words need.
    All steps shrink towards the end, which works as averaging the weights, at half the memory.
    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods", JMLR 12, 2011.
    """
    n = labels.size
    order = np.random.default_rng(0)  # the rows' order; the same for every seed of the forest
    batch = min(BATCH, max(MIN_BATCH, n // 20))
    epochs = min(max(EPOCHS, MIN_ROWS // n), MAX_EPOCHS)
    steps = epochs * math.ceil(n / batch)
    weights = np.zeros((matrix.shape[1], label_count), dtype=np.float32)
    squares = np.full((matrix.shape[1], 1), 1e-8, dtype=np.float32)
    at_once = max(1, CACHED // label_count)
    starts = (start for _ in range(epochs) for start in range(0, n, batch))
    for step, start in enumerate(starts):
        if start == 0:
            shuffled = order.permutation(n)
        rows = shuffled[start : start + batch]
        part = matrix[rows]
        error = softmax(part @ weights)
        error[np.arange(rows.size), labels[rows]] -= 1
        used, by_column = _column_contributions(part)
        rate = np.float32(LEARNING_RATE * (1 - step / steps))
        for first in range(0, used.size, at_once):
            columns = used[first : first + at_once]
            slope = by_column[first : first + at_once] @ error
            square = squares[columns] + (np.vecdot(slope, slope) / label_count)[:, None]
            squares[columns] = square
            slope *= rate / np.sqrt(square)
            weights[columns] -= slope
        tick()
    return weights


def _column_contributions(part: csr_array) -> tuple[NDArray[np.intp], csr_array]:
    """The columns that some row of *part* sets, and the transpose of *part* with only those."""
    across = part.T.tocsr()
    sizes = np.diff(across.indptr)
    used = np.flatnonzero(sizes)
    starts = np.append(0, np.cumsum(sizes[used]))
    return used, csr_array((across.data, across.indices, starts), (used.size, part.shape[0]))


def _naive_bayes(matrix: csr_array, targets: csr_array) -> FloatArray:
    """Multinomial Naive Bayes: log of how much likelier a column is under a label than overall.

    Shape (WIDTH, K). Source: Manning, Raghavan, Schuetze, "Introduction to Information
    Retrieval", 2008, section 13.2, with the columns' overall rate taken off: it is the same for
    every label, so the ranking stays, and a column that says nothing weighs nothing.
    """
    sums = (targets.T.tocsr() @ matrix).tocoo()
    label, column = sums.coords
    overall = np.asarray(matrix.sum(axis=0), dtype=np.float64) + BAYES_SMOOTHING
    overall /= overall.sum()
    # Smoothed by the overall distribution: where a label never set a column, nearly everywhere, the
    # ratio depends on the label alone.
    smoothing = BAYES_SMOOTHING * matrix.shape[1]
    size = np.bincount(label, sums.data, minlength=targets.shape[1]) + smoothing
    ratio = np.empty((matrix.shape[1], size.size), dtype=np.float32)
    ratio[:] = np.log(smoothing / size)
    ratio[column, label] += np.log1p(sums.data / (smoothing * overall[column]))
    return ratio


def _add_own_keyss(
    keys: KeyArray, matrix: csr_array, weights: FloatArray, log_prior: FloatArray
) -> KeyArray:
    """The keys of the rows of *matrix* with those of their users and something else."""
    added = []
    for start in range(0, matrix.shape[0], CHUNK):
        part = matrix[start : start + CHUNK]
        votes = softmax(part @ weights[:, 0]) + softmax(part @ weights[:, 1] + log_prior)
        added.append(add_own_keys(keys[start : start + CHUNK], votes))
    return np.concatenate(added)


def _log_prior(labels: LabelArray, label_count: int) -> FloatArray:
    """Log share of each label, shape (K,); of one without rows, next to nothing."""
    count = np.bincount(labels, minlength=label_count) + 0.01
    return np.asarray(np.log(count / count.sum()), np.float32)


def _ratio(bins: LabelArray, bin_count: int, labels: LabelArray, label_count: int) -> FloatArray:
    """Log of how much likelier each bin is under each label than overall: (bin_count, K)."""
    joint = np.bincount(bins * label_count + labels, minlength=bin_count * label_count)
    counts = joint.reshape(bin_count, label_count).astype(np.float64)
    overall = (counts.sum(axis=1, keepdims=True) + 0.5) / (counts.sum() + 0.5 * bin_count)
    within = (counts + RATIO_SMOOTHING * overall) / (counts.sum(axis=0) + RATIO_SMOOTHING)
    return np.asarray(np.log(within / overall), np.float32)


def _history(
    inputs: EncodedRows,
    keys_of_rows: KeyArray,
    order: LabelOrder,
    recent: NDArray[np.float64],
) -> LabelHistory:
    """Count labels by key, closed ones by the keys of their users alone; see LabelHistory."""
    labels, label_count = order.rows, order.ids.size
    counts = (keys_of_rows != NO_KEY) & (order.is_open[labels][:, None] | IS_OWN)
    row, _ = np.nonzero(counts)
    keys, key = np.unique(keys_of_rows[counts], return_inverse=True)
    pairs, pair = np.unique(key * label_count + labels[row], return_inverse=True)
    size = pairs.size
    owner = pairs // label_count
    day = inputs.rows["day"][row].astype(np.float64)
    day[inputs.rows["day"][row] == UNKNOWN_DAY] = np.nan
    last_row = np.zeros(size, dtype=np.int64)
    np.maximum.at(last_row, pair, row)
    newest = np.zeros(keys.size, dtype=np.int64)
    np.maximum.at(newest, owner, last_row)
    last_day = np.full(size, np.nan)
    np.fmax.at(last_day, pair, day)
    amount = inputs.rows["amount"][row].astype(np.float64)
    has_amount = ~np.isnan(amount)
    amounts = np.bincount(pair, has_amount, minlength=size)
    total = np.bincount(pair, np.where(has_amount, amount, 0), minlength=size)
    mean = np.divide(total, amounts, out=np.full(size, np.nan), where=amounts > 0)
    sizes = np.append(np.bincount(owner, minlength=keys.size), 0)  # LAST_KEY has no entries
    return LabelHistory(
        label_count,
        np.append(keys, np.uint64(LAST_KEY)),
        np.concatenate(([0], np.cumsum(sizes))).astype(np.int32),
        (pairs % label_count).astype(np.int32),
        np.bincount(pair, minlength=size).astype(np.float32),
        np.bincount(pair, recent[row], minlength=size).astype(np.float32),
        last_row == newest[owner],
        last_day.astype(np.float32),
        mean.astype(np.float32),
    )
