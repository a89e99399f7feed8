"""Fits a model on labelled rows in time order; nothing is learned about a row from later ones.

The candidate generator (see worker/training/fit_candidates.py) is fitted on the rows before a cut
and generates for the block after it. So the reranker (worker/training/fit_reranker.py) learns how
far the candidates can be trusted on unseen rows. Calibration uses the latest of those blocks. For
serving, the generator is then fitted on all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from itertools import count, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

from shared.features.extract import FeatureRow
from shared.model.candidates import (
    CANDIDATES,
    NO_LABEL,
    NO_LABEL_SCORE,
    PAIR_FEATURES,
    CandidateGenerator,
    Candidates,
    EncodedRows,
    encode_rows,
)
from shared.model.classifier import CHUNK, Model
from shared.model.label_history import USER
from shared.model.spellings import Spellings
from shared.model.thresholds import Thresholds
from worker.training.calibrate import HeldOut
from worker.training.fit_candidates import fit_generator
from worker.training.fit_reranker import ROUNDS, count_calibration_rows, start_fit
from worker.training.label_names import LabelNames, find_spellings, name_labels
from worker.training.layer_answers import (
    HistoryReplay,
    LayerAnswers,
    replay_cold_start,
    replay_history,
    replay_priors,
)
from worker.training.open_labels import LabelArray, LabelSharing, order_labels
from worker.training.parallel import FitPool, Progress
from worker.training.thresholds import fit_later_thresholds, fit_memory_threshold

BLOCK_ROWS = 24_000  # of each of the three blocks of a large set: bounds the reranker's cost
SMALL_ROWS = 3_000  # below, more and finer blocks
SELF_TEST_ROWS = CHUNK  # for which the kernel must generate as the reference does
EVERYBODY = LabelSharing()


class FitResult(NamedTuple):
    """Two models with one reranker."""

    judged: Model  # trained on the first rows alone: for the evaluation on the later ones
    stored: Model  # its candidate generator is fitted on all rows


class TestedGenerator(NamedTuple):
    """A candidate generator, and whether kernel and reference agree on the newest rows."""

    labels: tuple[str, ...]
    generator: CandidateGenerator
    native_agrees: bool | None
    spellings: Spellings


def fit(rows: Sequence[FeatureRow], labels: Sequence[str], **options: Any) -> Model:
    """Fit on all of *rows*, with the options of `fit_and_refit`."""
    return fit_and_refit(rows, labels, learned=len(rows), **options).judged


def fit_and_refit(
    rows: Sequence[FeatureRow],
    labels: Sequence[str],
    *,
    learned: int,
    seed: int = 0,
    target_precision: float = 0.9,
    sharing: LabelSharing = EVERYBODY,
    progress: Progress = lambda *_: None,
) -> FitResult:
    """Fit on the first *learned* of *rows*; then refit the candidate generator on all of them.

    The reranker's features mean the same for every label, so it serves new labels unchanged.

    Args:
        rows, labels: the earliest first; one label only is fine, and is then always predicted.
        seed: the same rows and seed give the same bytes.
        target_precision: share of the shown suggestions that should be right, 0..1; sets the
            thresholds.
        sharing: which labels are open.
        progress: called with phase, steps done and steps in all, many times a second, by one thread
            at a time; what it raises ends the run and reaches the caller.

    Raises:
        ValueError: no rows to learn from, or not as many labels.
    """
    if not 0 < learned <= len(rows) or len(rows) != len(labels):
        raise ValueError(f"{len(rows)} rows and {len(labels)} labels, {learned} to learn from")
    early, early_labels = rows[:learned], labels[:learned]
    with threadpool_limits(limits=1), FitPool(progress) as pool:
        hash_key = _hash_key(early, early_labels, seed)
        inputs = _read(early, hash_key, pool.report_progress)
        names = name_labels(early_labels)
        fitted = pool.submit(partial(_fit_tested, inputs, early_labels, sharing, pool))
        pairs, truth = _held_out(inputs, names, sharing, pool)
        order = order_labels(names.ids, inputs.rows["keys"][:, USER], names.folded, sharing)
        is_open = order.is_open[order.rows][inputs.size - truth.size :]
        # The reranker takes the longest; what is submitted later is done beside it.
        wait_for_reranker = start_fit(pairs, truth, is_open, seed, pool)
        refit = partial(_refit, inputs, rows[learned:], hash_key, labels, sharing, pool)
        refitted = pool.submit(refit) if learned < len(rows) else fitted
        memory = pool.submit(partial(_fit_memory, early, early_labels, target_precision))
        booster, agreement, calibration, held_out = wait_for_reranker()
        metadata = {
            "rows": learned,
            "reranker_rows": int(truth.size) if booster else 0,
            "calibrate_rows": count_calibration_rows(int(truth.size)),
            "rounds": ROUNDS if booster else 0,
            "seed": seed,
            "base_rows": learned,
        }
        judged = Model(
            **fitted.result()._asdict(),
            booster_text=booster,
            calibration=calibration,
            hash_key=hash_key,
            metadata=metadata,
            thresholds=_fit_thresholds(
                early,
                early_labels,
                memory.result(),
                names,
                held_out,
                sharing.users,
                target_precision,
            ),
            max_abs_error=agreement,
        )
        metadata = {**metadata, "base_rows": len(rows)}
        return FitResult(judged, replace(judged, **refitted.result()._asdict(), metadata=metadata))


def _hash_key(rows: Sequence[FeatureRow], labels: Sequence[str], seed: int) -> bytes:
    """A key that cannot be guessed without these rows, and is the same for the same rows."""
    digest = blake2b(str(seed).encode(), digest_size=16)
    for row, label in zip(rows, labels, strict=True):
        digest.update(f"{row.line}\x1f{row.norm_desc}\x1f{row.amount}\x1f{label}\x1e".encode())
    return digest.digest()


def _read(rows: Sequence[FeatureRow], hash_key: bytes, report: Progress) -> EncodedRows:
    parts = []
    for start in range(0, len(rows), CHUNK):
        report("encode", start, len(rows))
        parts.append(encode_rows(rows[start : start + CHUNK], hash_key))
    return EncodedRows.joined(parts)


def _refit(
    inputs: EncodedRows,
    later: Sequence[FeatureRow],
    hash_key: bytes,
    labels: Sequence[str],
    sharing: LabelSharing,
    pool: FitPool,
) -> TestedGenerator:
    """A generator fitted on *inputs* and the *later* rows; *labels* are those of both."""
    encoded = _read(later, hash_key, lambda *_: pool.check_cancelled())
    return _fit_tested(EncodedRows.joined([inputs, encoded]), labels, sharing, pool)


def _fit_tested(
    inputs: EncodedRows, labels: Sequence[str], sharing: LabelSharing, pool: FitPool
) -> TestedGenerator:
    names, users = name_labels(labels), inputs.rows["keys"][:, USER]
    order = order_labels(names.ids, users, names.folded, sharing)
    generator = fit_generator(inputs, order, pool.check_cancelled)
    newest = inputs.part(max(0, inputs.size - SELF_TEST_ROWS), inputs.size)
    agrees = generator.native_agrees(newest)
    return TestedGenerator(
        tuple(names.usual[it] for it in order.ids.tolist()),
        replace(generator, use_native=agrees is True),
        agrees,
        find_spellings(labels, names, users, order),
    )


def _cuts(day: NDArray[np.int64]) -> list[int]:
    """Where the blocks begin, and n: the generator of a block is fitted on all rows before it.

    Between two days, unless a day is a large part: lines of one purchase stay together.
    """
    n = day.size
    if n >= SMALL_ROWS:
        block = min(n // 5, BLOCK_ROWS)
        cuts = [n - blocks * block for blocks in (3, 2, 1)]
    else:
        cuts = [round(n * share) for share in (0.4, 0.52, 0.64, 0.76, 0.88)]
    starts = [int(np.searchsorted(day, day[min(cut, n - 1)])) for cut in cuts]
    near = zip(cuts, starts, strict=True)
    # With rows without a date the days are not sorted, and the search finds nothing of use.
    return [*(start if 0 <= cut - start <= n // 50 else cut for cut, start in near), n]


def _held_out(
    inputs: EncodedRows, names: LabelNames, sharing: LabelSharing, pool: FitPool
) -> tuple[Candidates, LabelArray]:
    """The candidates of the blocks' rows, by generators fitted on earlier rows; and the truth."""
    ids, label_count = names.ids, len(names.folded)
    width = min(label_count, CANDIDATES)
    steps = count(1)

    def tick() -> None:
        pool.report_progress("base", next(steps), 0)

    def generate(cut: int, end: int) -> list[Candidates]:
        # A label that comes only later must not even have a column: it would take a share.
        users = inputs.rows["keys"][:cut, USER]
        order = order_labels(ids[:cut], users, names.folded, sharing)
        generator = fit_generator(inputs.part(0, cut), order, tick)
        chunks = []
        for start in range(cut, end, CHUNK):
            pool.report_progress("candidates", start, inputs.size)
            chunk = generator.generate(inputs.part(start, min(start + CHUNK, end)))
            labels = np.where(chunk.labels == NO_LABEL, NO_LABEL, order.ids[chunk.labels])
            chunks.append(_pad(chunk._replace(labels=labels), width))
        return chunks

    blocks = [
        pool.submit(partial(generate, cut, end))
        for cut, end in pairwise(_cuts(inputs.rows["day"]))
        if label_count > 1 and 0 < cut < end
    ]
    nothing = np.zeros((0, width, len(PAIR_FEATURES)), dtype=np.float32)
    chunks = [Candidates(np.zeros((0, width), np.int64), nothing[:, :, 0], nothing)]
    chunks += [chunk for block in blocks for chunk in block.result()]
    joined = Candidates(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))
    return joined, ids[inputs.size - joined.labels.shape[0] :]


def _pad(pairs: Candidates, width: int) -> Candidates:
    """Fill up to *width* candidates a row, where there were fewer labels: the others are none."""
    missing = width - pairs.labels.shape[1]
    if not missing:
        return pairs
    return Candidates(
        np.pad(pairs.labels, ((0, 0), (0, missing)), constant_values=NO_LABEL),
        np.pad(pairs.linear, ((0, 0), (0, missing)), constant_values=NO_LABEL_SCORE),
        np.pad(pairs.features, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan),
    )


def _fit_memory(
    rows: Sequence[FeatureRow], labels: Sequence[str], target: float
) -> tuple[Thresholds, HistoryReplay]:
    history = replay_history(rows, labels)
    return fit_memory_threshold(history, target), history


def _fit_thresholds(
    rows: Sequence[FeatureRow],
    labels: Sequence[str],
    memory: tuple[Thresholds, HistoryReplay],
    names: LabelNames,
    held_out: HeldOut | None,
    min_users: int,
    target: float,
) -> Thresholds:
    """The thresholds of all layers; those behind merchant history on the held-out rows."""
    thresholds, history = memory
    if held_out is None:
        return thresholds
    count = held_out.labels.size
    folded = np.array([*names.folded, ""], dtype=object)  # the last for NO_LABEL
    fitted = fit_later_thresholds(
        thresholds,
        history.last(count),
        LayerAnswers(folded[held_out.labels], held_out.confidence, held_out.right),
        replay_priors(rows, labels, min_users).pick(slice(len(rows) - count, None)),
        replay_cold_start(rows, labels, count),
        target,
    )
    usual = dict(zip(names.folded, names.usual, strict=True))
    return replace(fitted, model={usual[name]: it for name, it in fitted.model.items()})
