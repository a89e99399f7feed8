"""Fits the scorers that propose: ridge regression, Naive Bayes, and the label history."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.sparse import csr_array

from shared.candidates import UNKNOWN_DAY, WEEKDAYS, Base, Inputs
from shared.encode import AMOUNT_BINS, WIDTH, Encoder
from shared.features import CHANNELS
from shared.history import LAST_KEY, NO_KEY, History

HALF_LIFE_DAYS = 180.0
RIDGE = 0.5
BAYES_SMOOTHING = 0.1
RATIO_SMOOTHING = 5.0  # rows of the overall distribution added to each label's own
GRAM_BLOCK, BLOCK = 512, 1024  # rows of a dense matrix worked on between two ticks

FloatArray = NDArray[np.float32]
LabelArray = NDArray[np.int64]
Tick = Callable[[], None]


def fit_base(inputs: Inputs, labels: LabelArray, label_count: int, tick: Tick) -> Base:
    """Fit every scorer on the same rows.

    Args:
        inputs: the rows, the earliest first, at least one.
        labels: the label of each, 0..label_count.
        label_count: K; labels without a row get a prior of next to nothing.
        tick: called now and then; may raise to end the work.
    """
    encoder = Encoder.fitted(inputs.grams)
    matrix = encoder.weigh(inputs.grams)
    targets = csr_array(
        (np.ones(labels.size, np.float32), (np.arange(labels.size), labels)),
        shape=(labels.size, label_count),
    )
    weights = np.empty((WIDTH, 2 * label_count), dtype=np.float32)
    tick()
    weights[:, :label_count] = _ridge(matrix, targets, tick)
    tick()
    weights[:, label_count:] = _naive_bayes(matrix, targets)
    known = inputs.day[inputs.day != UNKNOWN_DAY]
    today = known.max() if known.size else 0
    days = np.where(inputs.day == UNKNOWN_DAY, today, inputs.day)
    recent = np.exp2((days - today) / HALF_LIFE_DAYS)
    history = _history(inputs, labels, label_count, recent)
    tick()
    return Base(
        encoder,
        weights.astype(np.float16).astype(np.float32),  # as it will be read back
        history,
        _log_prior(labels, label_count),
        _ratio(inputs.amount_bin, AMOUNT_BINS, labels, label_count),
        _ratio(inputs.weekday, WEEKDAYS, labels, label_count),
        _ratio(inputs.channel, len(CHANNELS), labels, label_count),
    )


def _ridge(matrix: csr_array, targets: csr_array, tick: Tick) -> FloatArray:
    """Weights of least squares on one-hot targets, shape (WIDTH, K): one Cholesky, no iterations.

    The smaller of the two equal systems is solved: over the columns in use or over the rows.
    """
    used = np.flatnonzero(np.bincount(matrix.indices, minlength=WIDTH))
    weights = np.zeros((WIDTH, targets.shape[1]), dtype=np.float32)
    if matrix.shape[0] < used.size:
        weights[:] = matrix.T @ _solve(_gram(matrix, tick), targets.toarray(), tick)
    else:
        place = np.cumsum(np.bincount(used, minlength=WIDTH)) - 1
        parts = matrix.data, place[matrix.indices], matrix.indptr
        columns = csr_array(parts, shape=(matrix.shape[0], used.size)).T.tocsr()
        tick()
        weights[used] = _solve(_gram(columns, tick), (columns @ targets).toarray(), tick)
    return weights


def _gram(rows: csr_array, tick: Tick) -> NDArray[np.float64]:
    """The lower half of rows @ rows.T, dense, some rows at a time so that memory stays bounded.

    In double precision: in single, 140,000 terms of 0.09 add up to a matrix that is not positive.
    """
    rows = rows.astype(np.float64)
    columns = rows.T.tocsr()
    tick()
    gram = np.zeros((rows.shape[0], rows.shape[0]))
    for start in range(0, rows.shape[0], GRAM_BLOCK):
        stop = min(start + GRAM_BLOCK, rows.shape[0])
        gram[start:stop, :stop] = (rows[start:stop] @ columns[:, :stop]).toarray()
        tick()
    return gram


def _solve(gram: NDArray[np.float64], right: FloatArray, tick: Tick) -> FloatArray:
    """(gram + RIDGE I)^-1 right; of *gram* the lower half is read, and overwritten.

    Cholesky by blocks of rows, left-looking, so that a run can be ended between two of them.
    Source: Golub, Van Loan, "Matrix Computations", 4th ed., 2013, section 4.2.
    """
    gram[np.diag_indices_from(gram)] += RIDGE
    for start in range(0, gram.shape[0], BLOCK):
        stop = start + BLOCK
        done = gram[start:stop, :start]
        gram[start:, start:stop] -= gram[start:, :start] @ done.T
        tick()
        corner = cholesky(gram[start:stop, start:stop], lower=True, check_finite=False)
        gram[start:stop, start:stop] = corner
        below = gram[stop:, start:stop]
        below[:] = solve_triangular(corner, below.T, lower=True, check_finite=False).T
        tick()
    # Seen as columns, which LAPACK wants, the lower triangle is the upper one: no copy is made.
    solved = cho_solve((gram.T, False), right.astype(np.float64), check_finite=False)
    return np.asarray(solved, dtype=np.float32)


def _naive_bayes(matrix: csr_array, targets: csr_array) -> FloatArray:
    """Multinomial Naive Bayes: log of how much likelier a column is under a label than overall.

    Shape (WIDTH, K). Source: Manning, Raghavan, Schuetze, "Introduction to Information
    Retrieval", 2008, section 13.2, with the columns' overall rate taken off: it is the same for
    every label, so the ranking stays, and a column that says nothing weighs nothing.
    """
    found = (matrix.T.tocsr() @ targets).toarray().astype(np.float64)
    overall = found.sum(axis=1, keepdims=True) + BAYES_SMOOTHING
    overall /= overall.sum()
    smoothed = found + BAYES_SMOOTHING * WIDTH * overall
    ratio: FloatArray = np.log(smoothed / smoothed.sum(axis=0) / overall).astype(np.float32)
    return ratio


def _log_prior(labels: LabelArray, label_count: int) -> FloatArray:
    """Log share of each label, shape (K,); of one without rows, next to nothing."""
    count = np.bincount(labels, minlength=label_count) + 0.01
    prior: FloatArray = np.log(count / count.sum()).astype(np.float32)
    return prior


def _ratio(bins: LabelArray, bin_count: int, labels: LabelArray, label_count: int) -> FloatArray:
    """Log of how much likelier each bin is under each label than overall: (bin_count, K)."""
    joint = np.bincount(bins * label_count + labels, minlength=bin_count * label_count)
    counts = joint.reshape(bin_count, label_count).astype(np.float64)
    overall = (counts.sum(axis=1, keepdims=True) + 0.5) / (counts.sum() + 0.5 * bin_count)
    within = (counts + RATIO_SMOOTHING * overall) / (counts.sum(axis=0) + RATIO_SMOOTHING)
    ratio: FloatArray = np.log(within / overall).astype(np.float32)
    return ratio


def _history(
    inputs: Inputs, labels: LabelArray, label_count: int, recent: NDArray[np.float64]
) -> History:
    """Count labels by key; see History for what comes out."""
    row, _ = np.nonzero(inputs.keys != NO_KEY)
    keys, key = np.unique(inputs.keys[inputs.keys != NO_KEY], return_inverse=True)
    pairs, pair = np.unique(key * label_count + labels[row], return_inverse=True)
    size = pairs.size
    owner = pairs // label_count
    day = inputs.day[row].astype(np.float64)
    day[inputs.day[row] == UNKNOWN_DAY] = np.nan
    last_row = np.zeros(size, dtype=np.int64)
    np.maximum.at(last_row, pair, row)
    newest = np.zeros(keys.size, dtype=np.int64)
    np.maximum.at(newest, owner, last_row)
    last_day = np.full(size, np.nan)
    np.fmax.at(last_day, pair, day)
    amount = inputs.amount[row].astype(np.float64)
    has_amount = ~np.isnan(amount)
    amounts = np.bincount(pair, has_amount, minlength=size)
    total = np.bincount(pair, np.where(has_amount, amount, 0), minlength=size)
    mean = np.divide(total, amounts, out=np.full(size, np.nan), where=amounts > 0)
    sizes = np.append(np.bincount(owner, minlength=keys.size), 0)  # LAST_KEY has no entries
    return History(
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
