"""Replays a labelled file as one user's life: each row is suggested, then labelled.

    python -m benchmarks.suggest labelled.csv

The user begins with some labels, those just before the replay. A wrong or missing suggestion is one
that they must correct: the work that is left to them. The model is trained anew on all of their
labels every RETRAIN transactions, as it would be each night.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.quality.data import Unusable, read
from shared.features.extract import FeatureRow, features_of
from shared.model.classifier import Model, Prediction
from shared.model.thresholds import RECENT, Thresholds
from shared.suggestions.cold_start import LabelProfile
from shared.suggestions.decision import Decision, Evidence, decide
from shared.suggestions.merchant_history import LabelCount, MerchantHistory
from worker.training import fit

START = 0.8  # share of the rows before the replay; the labels are the latest before that
LABELS = (0, 30, 300, 3_000)
ROWS = 1_000
RETRAIN = 100
MIN_LABELS = 20  # as ML_MIN_LABELS
MODES = ("all layers", "without the model", "merchant lookup")


@dataclass(slots=True)
class User:
    """What one user has said so far."""

    labels_by_merchant: dict[str, deque[tuple[str, FeatureRow]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=RECENT))
    )
    corrected: dict[str, str] = field(default_factory=dict)
    habits: LabelProfile = field(default_factory=LabelProfile)

    def say(self, row: FeatureRow, label: str, *, correction: bool) -> None:
        """Remember a label as the service would."""
        self.labels_by_merchant[row.merchant].append((label, row))
        if correction:
            self.corrected[row.merchant] = label
        else:
            self.corrected.pop(row.merchant, None)
        self.habits.learn(row, label)

    def memory(self, merchant: str) -> MerchantHistory | None:
        """Of a merchant; None where it has none, or is unknown."""
        labelled = self.labels_by_merchant.get(merchant) if merchant else None
        if not labelled:
            return None
        times = Counter(label for label, _ in labelled)
        last = {label: row.date for label, row in labelled}
        known = {label: LabelCount(count, last[label]) for label, count in times.most_common()}  # type: ignore[arg-type]
        return MerchantHistory(known, self.corrected.get(merchant))


def evidence(user: User, row: FeatureRow, prediction: Prediction | None, mode: str) -> Evidence:
    """What the layers of *mode* know."""
    memory = user.memory(row.merchant)
    if mode == "merchant lookup":
        return Evidence(history=memory)
    return Evidence(history=memory, prediction=prediction, cold_start=user.habits.cold_start(row))


def replay(
    rows: Sequence[FeatureRow], labels: Sequence[str], start: int, known: int, mode: str
) -> list[tuple[Decision, bool]]:
    """What was suggested for ROWS transactions from *start* on, and whether it was right."""
    user = User()
    for row, label in zip(rows[start - known : start], labels[start - known : start], strict=True):
        user.say(row, label, correction=False)
    shown: list[tuple[Decision, bool]] = []
    end = min(start + ROWS, len(rows))
    for first in range(start, end, RETRAIN):
        last = min(first + RETRAIN, end)
        model: Model | None = None
        if mode == "all layers" and first - start + known >= MIN_LABELS:
            model = fit.fit(rows[start - known : first], labels[start - known : first])
        thresholds = model.thresholds if model else Thresholds()
        if mode == "merchant lookup":
            thresholds = Thresholds(memory=0.0)
        predictions = model.predict_many(rows[first:last]) if model else [None] * (last - first)
        for at, prediction in zip(range(first, last), predictions, strict=True):
            suggested = decide(evidence(user, rows[at], prediction, mode), thresholds)
            right = suggested.label == labels[at]
            shown.append((suggested, right))
            user.say(rows[at], labels[at], correction=not right)
    return shown


def table(shown: Sequence[tuple[Decision, bool]]) -> str:
    """Shares of the rows: shown, right of those, and what is left to do of 100."""
    answered = [right for suggested, right in shown if suggested.label is not None]
    wrong, asked = answered.count(False), len(shown) - len(answered)
    parts = []
    layers = Counter(suggested.layer for suggested, _ in shown if suggested.label is not None)
    for layer, count in layers.most_common():
        hits = sum(right for suggested, right in shown if suggested.layer == layer)
        parts.append(f"{layer} {count / len(shown):.1%} ({hits / count:.1%} right)")
    precision = sum(answered) / len(answered) if answered else 0.0
    return (
        f"{len(answered) / len(shown):6.1%} | {precision:6.1%} | {100 * wrong / len(shown):5.1f} | "
        f"{100 * asked / len(shown):5.1f} | {'; '.join(parts)}"
    )


def curve(shown: Sequence[tuple[Decision, bool]], labels: Sequence[str]) -> str:
    """How much is right of the surest tenth, quarter, and so on; where it asks, its best guess."""
    ranked = sorted(zip(shown, labels, strict=True), key=lambda item: -item[0][0].confidence)
    hits = [
        right or (bool(it.alternatives) and not it.label and it.alternatives[0].label == label)
        for (it, right), label in ranked
    ]
    points = []
    for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        part = hits[: max(1, round(share * len(hits)))]
        points.append(f"{share:.0%}: {sum(part) / len(part):.1%}")
    return ", ".join(points)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--labels", default=",".join(map(str, LABELS)), help="to begin with")
    options = parser.parse_args()
    try:
        cases = read(options.csv)
    except Unusable as problem:
        parser.error(str(problem))
    rows = [features_of(txn) for txn in cases.txns]
    start = cases.first_of_day(START)
    print(f"{options.csv.name}: from {cases.days[start]} on, up to {ROWS:,} transactions\n")
    print("| labels | layers | shown | right | wrong of 100 | asked of 100 | by layer |")
    print("|---|---|---|---|---|---|---|")
    curves = []
    for known in map(int, options.labels.split(",")):
        if known > start:
            continue
        for mode in MODES:
            began = time.perf_counter()
            shown = replay(rows, cases.labels, start, known, mode)
            print(f"| {known:,} | {mode} | {table(shown)} |", flush=True)
            if mode == MODES[0]:
                points = curve(shown, cases.labels[start : start + len(shown)])
                curves.append(f"{known:,} labels, {time.perf_counter() - began:.0f} s: {points}")
    print("\nRight of the surest, all layers:", *curves, sep="\n- ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
