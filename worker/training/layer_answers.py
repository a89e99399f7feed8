"""What the layers of suggestions would have said of labelled rows, in time order.

`worker.training.thresholds` learns from them how sure each layer must be.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from shared.features.extract import FeatureRow
from shared.model.spellings import fold_label
from shared.model.thresholds import (
    DEFAULT_REPEAT_RATES,
    RECENT,
    RepeatCell,
    RepeatRates,
    nest,
    repeat_cell,
)
from shared.suggestions.cold_start import LabelProfile
from shared.suggestions.decision import Prior
from shared.suggestions.merchant_history import same_text_speaks
from shared.text.collectors import is_collector

PRIOR_ROWS = 20  # the weight of DEFAULT_REPEAT_RATES in each cell

Answer = tuple[str, float] | None  # a label and its confidence


class LayerAnswers(NamedTuple):
    """What a layer says of n rows."""

    labels: NDArray[np.object_]  # shape (n,), folded; '' where it says nothing
    confidence: NDArray[np.float64]  # shape (n,)
    right: NDArray[np.bool_]  # shape (n,)

    @classmethod
    def of(cls, answers: Iterable[Answer], truth: Sequence[str]) -> Self:
        """Of the answers for rows with these labels."""
        labels = np.full(len(truth), "", dtype=object)
        confidence, right = np.zeros(len(truth)), np.zeros(len(truth), dtype=np.bool_)
        for index, answer in enumerate(answers):
            if answer:
                labels[index], confidence[index] = fold_label(answer[0]), answer[1]
                right[index] = labels[index] == fold_label(truth[index])
        return cls(labels, confidence, right)

    def pick(self, rows: NDArray[np.bool_] | slice) -> LayerAnswers:
        """For some of the rows."""
        return LayerAnswers(self.labels[rows], self.confidence[rows], self.right[rows])


class HistoryReplay(NamedTuple):
    """What merchant history says of n rows."""

    rates: RepeatRates  # each starts from that of DEFAULT_REPEAT_RATES
    answers: LayerAnswers  # the likeliest label of each row
    differs: NDArray[np.bool_]  # shape (n,): whether the user gave different labels

    def last(self, count: int) -> HistoryReplay:
        """For the last *count* rows."""
        late = slice(len(self.differs) - count, None)
        return HistoryReplay(self.rates, self.answers.pick(late), self.differs[late])


def replay_history(rows: Sequence[FeatureRow], labels: Sequence[str]) -> HistoryReplay:
    """How often users give a merchant the same label again; *rows* are the earliest first."""
    history: defaultdict[tuple[str, str], deque[tuple[str, str]]] = defaultdict(
        lambda: deque(maxlen=RECENT)
    )
    default = np.array(DEFAULT_REPEAT_RATES)
    trials = np.full(default.shape, float(PRIOR_ROWS))
    repeated = trials * default
    found: list[list[tuple[str, RepeatCell]]] = []
    for row, truth in zip(rows, labels, strict=True):
        earlier = history[row.user_id, row.merchant] if row.merchant else deque()
        cells = list(_earlier_labels(row, earlier))
        for label, cell in cells:
            trials[cell] += 1
            repeated[cell] += label == truth
        found.append(cells)
        earlier.append((row.norm_desc, truth))
    rates: RepeatRates = nest((repeated / trials).round(4).tolist())
    answers = (
        max(((label, cell.rate(rates)) for label, cell in cells), key=_confidence, default=None)
        for cells in found
    )
    differs = np.array([len(cells) > 1 for cells in found], dtype=np.bool_)
    return HistoryReplay(rates, LayerAnswers.of(answers, labels), differs)


def _confidence(answer: tuple[str, float]) -> float:
    return answer[1]


def _earlier_labels(
    row: FeatureRow, earlier: Collection[tuple[str, str]]
) -> Iterator[tuple[str, RepeatCell]]:
    """The labels that speak for *row* with their cells; *earlier*: descriptions with labels."""
    same_text = same_text_speaks(row, {text for text, _ in earlier})
    if same_text is None or not earlier:
        return
    if same_text:
        labels = [label for text, label in earlier if not row.norm_desc or text == row.norm_desc]
    else:
        places = ((text or place, label) for place, (text, label) in enumerate(earlier))
        labels = [label for _, label in dict.fromkeys(places)]
    *_, (_, last) = earlier
    newest = labels[-1] if same_text else last
    for label, times in Counter(labels).items():
        yield label, repeat_cell(times, len(labels), newest=label == newest, same_text=same_text)


def replay_priors(
    rows: Sequence[FeatureRow], labels: Sequence[str], min_users: int
) -> LayerAnswers:
    """What other users' labels say of each row; a user votes for their last label of a merchant."""
    return LayerAnswers.of(_priors(rows, labels, min_users), labels)


def _priors(rows: Sequence[FeatureRow], labels: Sequence[str], min_users: int) -> Iterator[Answer]:
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by merchant
    vote_of: dict[tuple[str, str], str] = {}  # by user and merchant
    for row, truth in zip(rows, labels, strict=True):
        if not row.merchant or not row.user_id or is_collector(row.merchant):
            yield None
            continue
        counts, key = votes[row.merchant], (row.user_id, row.merchant)
        if own := vote_of.get(key):
            counts[own] -= 1
        (label, users), *_ = counts.most_common(1) or [("", 0)]
        enough = users >= min_users
        yield (label, Prior(label, users, counts.total()).confidence) if enough else None
        vote_of[key] = truth
        counts[truth] += 1


def replay_cold_start(
    rows: Sequence[FeatureRow], labels: Sequence[str], count: int
) -> LayerAnswers:
    """What the text says of each of the last *count* rows, with their users' labels until then."""
    return LayerAnswers.of(_cold_starts(rows, labels, count), labels[len(labels) - count :])


def _cold_starts(rows: Sequence[FeatureRow], labels: Sequence[str], count: int) -> Iterator[Answer]:
    profiles: defaultdict[str, LabelProfile] = defaultdict(LabelProfile)
    asked_from = len(rows) - count
    for index, (row, truth) in enumerate(zip(rows, labels, strict=True)):
        if index >= asked_from:
            found = profiles[row.user_id].cold_start(row)
            yield (found.label, found.confidence) if found else None
        profiles[row.user_id].learn(row, truth)
