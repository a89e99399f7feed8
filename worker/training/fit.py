"""Learns a model from labelled rows in the order of time; no row ever informs an earlier one.

The base (see worker/training/fit_candidates.py) is fitted on the rows before a cut and proposes for
the block after it; so the reranker learns how far the base can be trusted on rows it has not seen.
Calibration uses the latest of those blocks' rows. For serving, the base is then fitted on
everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from itertools import count, pairwise
from typing import Any, NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

from shared.features.extract import FeatureRow
from shared.model.candidates import (
    CANDIDATES,
    PAIR_FEATURES,
    CandidateGenerator,
    Candidates,
    EncodedRows,
    encode_rows,
)
from shared.model.classifier import CHUNK, Calibration, Model
from shared.model.reranker import Reranker, max_abs_difference
from shared.model.thresholds import Thresholds
from worker.training.calibrate import DEFAULT_LINEAR_WEIGHT, calibrate
from worker.training.fit_candidates import LabelArray, fit_generator
from worker.training.parallel import FitPool, Progress
from worker.training.thresholds import RepeatRateFit, fit_repeat_rates, fit_thresholds

ROUNDS = 400
EVERY = 5  # rounds, a forest tells of itself
BLOCK_ROWS = 24_000  # of each of the three blocks of a large set: bounds the reranker's cost
SMALL = 3_000  # rows; below, more and finer blocks, and smaller trees
MIN_RERANKED = 200  # rows in the blocks; with fewer, no forest is grown
CALIBRATE_SHARE = 0.5  # of the blocks' rows, the latest
MIN_CALIBRATE = 20  # rows, to weigh the scores
BALANCE = 0.3  # power of n / (K n_label): full balance costs points of accuracy, gains no macro-F1
SELF_TEST_ROWS = 10_000  # rows whose candidates the kernel must score as LightGBM does
PROPOSED = CHUNK  # rows for which the kernel must propose as the reference does
NO_LABEL = -50.0  # linear score of a candidate that is none

_LARGE_TREES = {"learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100}
_SMALL_TREES = {"learning_rate": 0.03, "num_leaves": 7, "min_data_in_leaf": 20}
# Rare labels end up in leaves of tiny hessian and huge value without these guards.
_GUARDS = {"lambda_l2": 5.0, "min_sum_hessian_in_leaf": 1.0}


class HeldOut(NamedTuple):
    """The model's predictions of rows it was not trained on, shape (n,) each."""

    labels: LabelArray  # -1: none
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


class FitResult(NamedTuple):
    """Two models with one reranker."""

    judged: Model  # trained on the first rows alone: for the evaluation on the later ones
    stored: Model  # its base is fitted on all rows


def fit(
    rows: Sequence[FeatureRow],
    labels: Sequence[str],
    *,
    seed: int = 0,
    target_precision: float = 0.9,
    progress: Progress | None = None,
) -> Model:
    """Learn from *rows*, the earliest first, and the label of each; see `fit_and_refit`."""
    return fit_and_refit(
        rows,
        labels,
        learned=len(rows),
        seed=seed,
        target_precision=target_precision,
        progress=progress,
    ).judged


def fit_and_refit(
    rows: Sequence[FeatureRow],
    labels: Sequence[str],
    *,
    learned: int,
    seed: int = 0,
    target_precision: float = 0.9,
    progress: Progress | None = None,
) -> FitResult:
    """Fit on the first *learned* of *rows*; then put the same reranker over a base of them all.

    The reranker's features mean the same for every label, so it serves new labels unchanged.

    Args:
        rows: the earliest first.
        labels: as many; one label only is fine, and is then always predicted.
        learned: at least one.
        seed: the same rows and seed give the same bytes.
        target_precision: share of the suggestions shown that should be right, 0..1; sets the bars.
        progress: told phase, steps done and steps in all, many times a second, by one thread at a
            time; what it raises ends the run and reaches the caller.

    Raises:
        ValueError: no rows to learn from, or not as many labels.
    """
    if not 0 < learned <= len(rows) or len(rows) != len(labels):
        raise ValueError(f"{len(rows)} rows and {len(labels)} labels, {learned} to learn from")
    early = rows[:learned]
    with threadpool_limits(limits=1), FitPool(progress or _silent) as pool:
        hash_key = _hash_key(early, labels[:learned], seed)
        known = _read(early, hash_key, pool.report_progress)
        names, ids = _numbered(labels[:learned])
        base = pool.submit(lambda: _tried_base(known, ids, len(names), pool.check_cancelled))
        pairs, truth = _held_out(known, ids, len(names), pool)
        # The forests take the longest; what is submitted later is done beside them.
        forests = _grow_forests(pairs, truth, seed, pool) if truth.size >= MIN_RERANKED else None
        all_names, all_ids = _numbered(labels)

        def refit() -> tuple[CandidateGenerator, bool | None]:
            later = _read(rows[learned:], hash_key, lambda *_: pool.check_cancelled())
            return _tried_base(
                EncodedRows.joined([known, later]), all_ids, len(all_names), pool.check_cancelled
            )

        refitted = pool.submit(refit) if learned < len(rows) else base
        memory = pool.submit(lambda: fit_repeat_rates(early, labels[:learned], target_precision))
        reranker = forests.result(pool) if forests else _without_forest(pairs, truth)
        booster, agreement, calibration, held_out = reranker
        facts = {
            "rows": learned,
            "reranker_rows": int(truth.size) if booster else 0,
            "calibrate_rows": _calibrate_rows(int(truth.size)),
            "rounds": ROUNDS if booster else 0,
            "seed": seed,
            "base_rows": learned,
        }
        bars = _bars(memory.result(), names, held_out, target_precision)
        own, alike = base.result()
        model = Model(names, own, booster, calibration, hash_key, facts, bars, agreement, alike)
        own, alike = refitted.result()
    facts = {**facts, "base_rows": len(rows)}
    stored = replace(model, labels=all_names, generator=own, metadata=facts, proposals_agree=alike)
    return FitResult(model, stored)


def _silent(phase: str, done: int, total: int) -> None:
    """Nobody wants to know."""


def _numbered(labels: Sequence[str]) -> tuple[tuple[str, ...], LabelArray]:
    names = tuple(sorted(set(labels)))
    index = {name: number for number, name in enumerate(names)}
    return names, np.array([index[label] for label in labels], dtype=np.int64)


def _hash_key(rows: Sequence[FeatureRow], labels: Sequence[str], seed: int) -> bytes:
    """A key that nobody guesses who has not the same rows, and the same for the same rows."""
    digest = blake2b(str(seed).encode(), digest_size=16)
    for row, label in zip(rows, labels, strict=True):
        digest.update(f"{row.line}\x1f{row.norm_desc}\x1f{row.amount}\x1f{label}\x1e".encode())
    return digest.digest()


def _read(rows: Sequence[FeatureRow], hash_key: bytes, tell: Progress) -> EncodedRows:
    parts = []
    for start in range(0, len(rows), CHUNK):
        tell("encode", start, len(rows))
        parts.append(encode_rows(rows[start : start + CHUNK], hash_key))
    return EncodedRows.joined(parts)


def _tried_base(
    inputs: EncodedRows, ids: LabelArray, label_count: int, tick: Callable[[], None]
) -> tuple[CandidateGenerator, bool | None]:
    """A base, and whether the kernel proposes as the reference does for the newest rows."""
    base = fit_generator(inputs, ids, label_count, tick)
    agree = base.native_agrees(inputs.part(max(0, inputs.size - PROPOSED), inputs.size))
    return replace(base, use_native=agree is True), agree


def _cuts(day: NDArray[np.int64]) -> list[int]:
    """Where the blocks begin, and n: the base of each block is fitted on all rows before it.

    Between two days, where a day is not too large a part: lines of one purchase stay together.
    """
    n = day.size
    if n >= SMALL:
        block = min(n // 5, BLOCK_ROWS)
        cuts = [n - blocks * block for blocks in (3, 2, 1)]
    else:
        cuts = [round(n * share) for share in (0.4, 0.52, 0.64, 0.76, 0.88)]
    starts = [int(np.searchsorted(day, day[min(cut, n - 1)])) for cut in cuts]
    # Rows without a date may stand anywhere, and the search then finds nothing of use.
    near = [
        start if 0 <= cut - start <= n // 50 else cut
        for cut, start in zip(cuts, starts, strict=True)
    ]
    return [*near, n]


def _held_out(
    inputs: EncodedRows, ids: LabelArray, label_count: int, pool: FitPool
) -> tuple[Candidates, LabelArray]:
    """What bases say of the blocks' rows, each base knowing only earlier rows; and the truth."""
    width = min(label_count, CANDIDATES)
    steps = count(1)

    def tick() -> None:
        pool.report_progress("base", next(steps), 0)

    def propose(cut: int, end: int) -> list[Candidates]:
        # A label that comes only later must not even have a column: it would take a share.
        known, known_ids = np.unique(ids[:cut], return_inverse=True)
        base = fit_generator(inputs.part(0, cut), known_ids, known.size, tick)
        proposals = []
        for start in range(cut, end, CHUNK):
            pool.report_progress("candidates", start, inputs.size)
            proposed = base.generate(inputs.part(start, min(start + CHUNK, end)))
            proposals.append(_widened(proposed._replace(labels=known[proposed.labels]), width))
        return proposals

    blocks = [
        pool.submit(partial(propose, cut, end))
        for cut, end in pairwise(_cuts(inputs.rows["day"]))
        if label_count > 1 and 0 < cut < end
    ]
    proposals = [proposal for block in blocks for proposal in block.result()]
    if not proposals:
        nothing = np.zeros((0, width, len(PAIR_FEATURES)), dtype=np.float32)
        return Candidates(np.zeros((0, width), np.int64), nothing[:, :, 0], nothing), ids[:0]
    joined = Candidates(*(np.concatenate(parts) for parts in zip(*proposals, strict=True)))
    return joined, ids[inputs.size - joined.labels.shape[0] :]


def _widened(proposed: Candidates, width: int) -> Candidates:
    """With *width* candidates a row, though fewer labels were known: the others are no label."""
    missing = width - proposed.labels.shape[1]
    if not missing:
        return proposed
    return Candidates(
        np.pad(proposed.labels, ((0, 0), (0, missing)), constant_values=-1),
        np.pad(proposed.linear, ((0, 0), (0, missing)), constant_values=NO_LABEL),
        np.pad(proposed.features, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan),
    )


class RerankerFit(NamedTuple):
    """A fitted reranker.

    Attributes:
        booster: the model as text; "" where there are too few rows for one.
        agreement: the largest difference between the native evaluation and LightGBM.
        held_out: what the calibration was fitted on, as it then predicts; None if on nothing.
    """

    booster: str
    agreement: float | None
    calibration: Calibration
    held_out: HeldOut | None


def _without_forest(pairs: Candidates, truth: LabelArray) -> RerankerFit:
    """For rows too few to grow a forest: the linear score alone, calibrated if that can be."""
    if truth.size < MIN_CALIBRATE:
        return RerankerFit("", None, Calibration(0.0, DEFAULT_LINEAR_WEIGHT), None)
    right = np.equal(pairs.labels, truth[:, None])
    calibration = calibrate(pairs, None, right, _balanced(truth))
    return RerankerFit("", None, calibration, _predict(calibration, pairs, None, right))


class _Forests(NamedTuple):
    """The forests that are being grown.

    One serves. The other, grown without the rows that calibrate, is what is calibrated on them; it
    needs half the time. Neither waits for the other: that the calibration then has no use for a
    forest is rare.
    """

    serving: Future[str]
    calibrating: Future[tuple[Calibration, HeldOut]]
    samples: Future[NDArray[np.float32]]  # on which native code is compared with LightGBM

    def result(self, pool: FitPool) -> RerankerFit:
        """Wait for them, and compare the one that serves."""
        calibration, held_out = self.calibrating.result()
        if not calibration.reranker:
            return RerankerFit("", None, calibration, held_out)
        text = self.serving.result()
        # Both ways through all its trees take a third of the time that it took to grow.
        parts = np.array_split(self.samples.result(), pool.size)
        apart = [pool.submit(partial(max_abs_difference, text, part)) for part in parts]
        found = [it for it in (part.result() for part in apart) if it is not None]
        return RerankerFit(text, max(found, default=None), calibration, held_out)


def _grow_forests(pairs: Candidates, truth: LabelArray, seed: int, pool: FitPool) -> _Forests:
    """Start to grow the forests; `result` waits for them."""
    n = truth.size
    right = np.equal(pairs.labels, truth[:, None])
    weight = _balanced(truth)
    cut = n - _calibrate_rows(n)
    # The same for both forests, or the calibration of the first would not be that of the second.
    trees = _LARGE_TREES if n * 2 >= SMALL else _SMALL_TREES
    steps = count(1)

    def tick() -> None:
        pool.report_progress("forest", EVERY * next(steps), 2 * ROUNDS)

    def calibrated() -> tuple[Calibration, HeldOut]:
        text = _grow(pairs.features[:cut], right[:cut], truth[:cut], trees, seed, tick)
        late = Candidates._make(part[cut:] for part in pairs)
        # It never serves: that the kernel is equal on some rows is enough.
        odds = Reranker(text, max_abs_difference(text, late.features[-CHUNK:])).log_odds(
            late.features
        )
        calibration = calibrate(late, odds, right[cut:], weight[cut:])
        return calibration, _predict(calibration, late, odds, right[cut:])

    return _Forests(
        pool.submit(lambda: _grow(pairs.features, right, truth, trees, seed, tick)),
        pool.submit(calibrated),
        pool.submit(lambda: _tried(pairs.features, seed)),
    )


def _predict(
    calibration: Calibration,
    pairs: Candidates,
    odds: NDArray[np.float64] | None,
    right: NDArray[np.bool_],
) -> HeldOut:
    shares = np.array(calibration.shares(pairs, odds if calibration.reranker else None))
    best = np.arange(len(shares)), shares.argmax(axis=1)
    confidence = np.array([calibration.confidence(share) for share in shares[best].tolist()])
    return HeldOut(pairs.labels[best], confidence, right[best])


def _bars(
    memory: RepeatRateFit, names: Sequence[str], held_out: HeldOut | None, target: float
) -> Thresholds:
    known = Thresholds(memory=memory.threshold, repeat_rates=memory.trust)
    if held_out is None:
        return known
    # The model is asked where memory is not sure, and those are the harder rows.
    asked = ~memory.answers[memory.answers.size - held_out.labels.size :]
    said = [names[number] for number in held_out.labels[asked].tolist()]
    model, default = fit_thresholds(said, held_out.confidence[asked], held_out.right[asked], target)
    return replace(known, model=model, model_default=default)


def _calibrate_rows(n: int) -> int:
    """How many of the latest of *n* rows calibrate; of few all of them, of very few none."""
    if n < MIN_RERANKED:
        return n if n >= MIN_CALIBRATE else 0
    return max(MIN_CALIBRATE, round(n * CALIBRATE_SHARE))


def _grow(
    features: NDArray[np.float32],
    right: NDArray[np.bool_],
    truth: LabelArray,
    trees: dict[str, Any],
    seed: int,
    tick: Callable[[], None],
) -> str:
    """A forest that tells right candidates from wrong, shape (n, M), as text.

    Rows whose truth is no candidate stay: they teach what a strange row looks like.
    """
    params: dict[str, Any] = {
        "objective": "binary",
        **trees,
        **_GUARDS,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "max_bin": 127,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    weights = np.repeat(_balanced(truth), features.shape[1])
    data = lightgbm.Dataset(_flat(features), right.ravel(), weight=weights, params=params)

    def report(env: Any) -> None:
        if env.iteration % EVERY == 0:
            tick()

    grown = lightgbm.train(params, data, num_boost_round=ROUNDS, callbacks=[report])
    return str(grown.model_to_string())


def _balanced(truth: LabelArray) -> NDArray[np.float64]:
    """A weight for each row: those of rare labels count for more."""
    counts = np.bincount(truth)
    share = truth.size / (np.count_nonzero(counts) * counts[truth])
    return np.asarray(np.clip(share**BALANCE, 1 / 8, 8))


def _tried(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """TRIED rows to compare two ways through the forest on, shape (TRIED, M, f).

    With all their candidates, since they are judged together. If there are fewer, they are made up:
    each feature, of all the candidates, is that of some row.
    """
    rng = np.random.default_rng(seed)
    n, _, width = features.shape
    if n >= SELF_TEST_ROWS:
        return features[rng.choice(n, SELF_TEST_ROWS, replace=False)]
    return np.take_along_axis(features, rng.integers(n, size=(SELF_TEST_ROWS, 1, width)), axis=0)


def _flat(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """One line a pair: (n, M, f) as (n M, f)."""
    return features.reshape(-1, features.shape[2])
