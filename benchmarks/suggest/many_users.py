"""Replays the first rows of new users among many who have labelled before.

    python -m benchmarks.suggest.many_users labelled.csv

A fifth of the users is unknown before the replay: their rows before it are left out, and their next
ones are suggested, then labelled. The model is learned from the others' rows at the beginning, and
anew some times on the way, from all rows until then. A wrong or missing suggestion is one that a
user must correct.
"""

from __future__ import annotations

import argparse
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.quality.data import Unusable, read
from benchmarks.suggest.replayed_user import HEADINGS, ReplayedUser, Shown, judge, table_row
from shared.features.extract import FeatureRow, features_of
from shared.model.classifier import Model, Prediction
from shared.model.thresholds import Thresholds
from shared.suggestions.decision import Evidence, Prior, decide
from worker.training import fit
from worker.training.open_labels import LabelSharing

START = 0.6  # share of the rows before the replay
TRAININGS = 4
ROWS = 300  # of each new user
NEW_USERS = 5  # one in so many
MIN_USERS = 3  # of an open label and of a prior, as ML_SHARED_LABEL_USERS
ALL, RULES = "all layers", "without the model"
LOOKUP, OTHERS = "their merchant lookup", "lookup, then other users'"
MODES = (ALL, RULES, LOOKUP, OTHERS)


def is_new(user: str) -> bool:
    """Whether a user is left out before the replay: by hash, so that it is the same each time."""
    return zlib.crc32(user.encode()) % NEW_USERS == 0


class Priors:
    """What most users call a merchant, each by their most frequent label for it."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(
            lambda: defaultdict(Counter)
        )

    def learn(self, row: FeatureRow, label: str) -> None:
        if row.merchant:
            self._counts[row.merchant][row.user_id][label] += 1

    def prior(self, row: FeatureRow, min_users: int) -> Prior | None:
        """Of the other users."""
        votes = Counter(
            counts.most_common(1)[0][0]
            for user, counts in self._counts[row.merchant].items()
            if user != row.user_id
        )
        if not votes or votes.most_common(1)[0][1] < min_users:
            return None
        label, users = votes.most_common(1)[0]
        return Prior(label, users, votes.total())


def replay(
    rows: Sequence[FeatureRow], labels: Sequence[str], target: float
) -> dict[str, list[Shown]]:
    """What each mode showed the new users."""
    start = int(START * len(rows))
    corrected: dict[str, defaultdict[str, ReplayedUser]] = {
        mode: defaultdict(ReplayedUser) for mode in MODES
    }
    done: Counter[str] = Counter()
    priors = Priors()
    shown: dict[str, list[Shown]] = {mode: [] for mode in MODES}
    known = [place for place in range(start) if not is_new(rows[place].user_id)]
    for place in known:
        priors.learn(rows[place], labels[place])
    step = -(-(len(rows) - start) // TRAININGS)
    for first in range(start, len(rows), step):
        part = range(first, min(first + step, len(rows)))
        model = fit.fit(
            [rows[place] for place in known],
            [labels[place] for place in known],
            target_precision=target,
            sharing=LabelSharing(users=MIN_USERS),
        )
        asked = [place for place in part if is_new(rows[place].user_id)]
        predicted = model.predict_many([rows[place] for place in asked])
        predictions = dict(zip(asked, predicted, strict=True))
        for place in part:
            row, label = rows[place], labels[place]
            if place in predictions and done[row.user_id] < ROWS:
                done[row.user_id] += 1
                for mode in MODES:
                    user = corrected[mode][row.user_id]
                    decision = decide(
                        _evidence(mode, user, row, predictions[place], priors),
                        _thresholds(mode, model),
                    )
                    found = judge(decision, label)
                    shown[mode].append(found)
                    user.say(row, label, found)
            priors.learn(row, label)
        known.extend(part)
    return shown


def _evidence(
    mode: str, user: ReplayedUser, row: FeatureRow, prediction: Prediction, priors: Priors
) -> Evidence:
    history = user.history(row)
    if mode == LOOKUP:
        return Evidence(history=history)
    if mode == OTHERS:
        return Evidence(history=history, prior=priors.prior(row, 1))
    return Evidence(
        history=history,
        prediction=prediction if mode == ALL else None,
        prior=priors.prior(row, MIN_USERS),
        cold_start=user.profile.cold_start(row),
    )


def _thresholds(mode: str, model: Model) -> Thresholds:
    if mode in (LOOKUP, OTHERS):
        return Thresholds(memory=0.0, prior=0.0)
    return model.thresholds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest.many_users")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--target", type=float, default=0.9, help="as SUGGEST_TARGET_PRECISION")
    options = parser.parse_args()
    try:
        cases = read(options.csv)
    except Unusable as problem:
        parser.error(str(problem))
    rows = [features_of(txn) for txn in cases.txns]
    if not any(row.user_id for row in rows):
        parser.error(f"{options.csv} names no users: a column user_id is needed")
    shown = replay(rows, cases.labels, options.target)
    new = {row.user_id for row in rows[int(START * len(rows)) :] if is_new(row.user_id)}
    print(
        f"{options.csv.name}: the first {ROWS} rows of {len(new):,} new users from "
        f"{cases.days[int(START * len(rows))]} on, {len(shown[ALL]):,} rows; "
        f"{TRAININGS} trainings\n"
    )
    print(
        report.table(
            ["layers", *HEADINGS], [[mode, *table_row(found)] for mode, found in shown.items()]
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
