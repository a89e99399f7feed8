"""Suggests a category for each transaction, according to its user's experiment arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from shared.db.tables import Arm
from shared.experiments.traffic_split import Rollout, arm_of
from shared.features.encoder import word_columns
from shared.features.extract import FeatureRow
from shared.log import get_logger
from shared.model.classifier import Model, Prediction
from shared.model.thresholds import Bars
from shared.monitoring import metrics
from shared.registry.challenger import Challengers
from shared.registry.live_model import Runtime, Served
from shared.rules import store as rule_store
from shared.rules.matcher import RuleBook
from shared.settings import Settings
from shared.suggestions.cold_start import Habits
from shared.suggestions.context import Known
from shared.suggestions.decision import Evidence, Suggested, Voice, decide, label_of, voices

log = get_logger()
WORDS = 4  # of a transaction are named as the model's reason


class Asked(NamedTuple):
    """A transaction to be suggested for; `txn_id` is None where it is not a stored one."""

    row: FeatureRow
    txn_id: int | None = None


NO_RULES = RuleBook(())
NO_HABITS = Habits()


class Answer(NamedTuple):
    """What is shown for one transaction, and what rules and model would each say alone."""

    asked: Asked
    suggested: Suggested
    arm: Arm
    model_version: str | None  # of the model that was heard
    rules_label: str | None
    model_label: str | None


class Gathered(NamedTuple):
    """What rules, merchant history and other users say of one transaction.

    Attributes:
        rules_label: what is decided by that alone; None: the user's label profile is needed.
    """

    asked: Asked
    arm: Arm
    evidence: Evidence
    rules_label: str | None


def gather(
    asked: Sequence[Asked], said: Known, heard: Heard, forced: Arm | None = None
) -> list[Gathered]:
    """Find the evidence for each transaction, but for text and model, in order."""
    arms = [forced or heard.arm(item.row.user_id) for item in asked]
    bars = {arm: heard.bars(arm) for arm in set(arms)}
    return [_gather(item, said, arm, bars[arm]) for item, arm in zip(asked, arms, strict=True)]


def _gather(item: Asked, said: Known, arm: Arm, bars: Bars) -> Gathered:
    evidence = _without_a_model(item.row, said)
    return Gathered(item, arm, evidence, label_of(evidence, bars))


def users_needing_profile(gathered: Iterable[Gathered]) -> set[str]:
    """Users for some of whose transactions rules and merchant history decide nothing."""
    return {it.asked.row.user_id for it in gathered if it.rules_label is None}


def answer(
    asked: Sequence[Asked], said: Known, arm: Arm, served: Served | None, bars: Bars
) -> list[Answer]:
    """Suggest for each transaction, in order. In the arm RULES the model is heard, not shown."""
    return _answer([_gather(item, said, arm, bars) for item in asked], said, arm, served, bars)


def _answer(
    gathered: Sequence[Gathered], said: Known, arm: Arm, served: Served | None, bars: Bars
) -> list[Answer]:
    predictions: Sequence[Prediction | None] = [None] * len(gathered)
    if served is not None:
        predictions = served.model.predict_many([it.asked.row for it in gathered])
    version = served.pointer.run_id if served else None
    answers = []
    for (item, _, rules, rules_label), prediction in zip(gathered, predictions, strict=True):
        if rules_label is None:
            rules = _with_the_text(rules, item.row, said)
            # The layers before the text have decided nothing.
            text = Evidence(starter=rules.starter, rejected=rules.rejected)
            rules_label = label_of(text, bars)
        if arm is Arm.RULES or prediction is None or served is None:
            shown = decide(rules, bars)
        else:
            words = partial(words_of, served.model, item.row, prediction.label)
            shown = decide(rules._replace(prediction=prediction, words=words), bars)
        alone = Evidence(prediction=prediction, rejected=rules.rejected)
        model_label = label_of(alone, bars) if prediction else None
        answers.append(Answer(item, shown, arm, version, rules_label, model_label))
    return answers


def _without_a_model(row: FeatureRow, said: Known) -> Evidence:
    key = row.user_id, row.merchant
    own = said.books.get(row.user_id, NO_RULES) if row.user_id else NO_RULES
    return Evidence(
        own_rule=own.match(row),
        shared_rule=said.books.get(rule_store.EVERYONE, NO_RULES).match(row),
        memory=said.memories.get(key),
        prior=said.priors.get(row.merchant),
        rejected=said.rejected.get(key, frozenset()),
    )


def _with_the_text(evidence: Evidence, row: FeatureRow, said: Known) -> Evidence:
    """The text takes the longest to read, and is seldom needed."""
    return evidence._replace(starter=said.habits.get(row.user_id, NO_HABITS).starter(row))


class Heard(NamedTuple):
    """Who may be heard, and by whom; see shared/experiments/traffic_split.py."""

    live: Served | None
    challenger: Served | None
    holds: Rollout
    shadow: bool
    salt: str
    thresholds: Mapping[str, float]

    def arm(self, user_id: str) -> Arm:
        """The arm that a user is in."""
        return arm_of(user_id, self.holds, self.salt)

    def bars(self, arm: Arm) -> Bars:
        """What must be reached in an arm. The same whether the model is listened to or not:
        shadow changes no answer."""
        judge = self.challenger if arm is Arm.CHALLENGER else self.live
        return (judge.model.bars if judge else Bars()).overridden(self.thresholds)


def heard(
    live: Runtime, challengers: Challengers, settings: Settings, newest: Rollout | None
) -> Heard:
    """The models of this process. Without a loaded challenger, no user is in its arm.

    Args:
        newest: change of the shares; None: the settings hold them.
    """
    holds = newest or Rollout(canary=settings.suggest_canary)
    challenger = challengers.model(holds.challenger)
    return Heard(
        live.served(),
        challenger,
        holds if challenger else holds.without_trial(),
        settings.suggest_shadow,
        settings.suggest_salt,
        settings.suggest_thresholds,
    )


def answer_all(
    asked: Sequence[Asked], said: Known, heard: Heard, forced: Arm | None = None
) -> list[Answer]:
    """Suggest for each transaction by the arm of its user, in order."""
    return answer_gathered(gather(asked, said, heard, forced), said, heard)


def answer_gathered(gathered: Sequence[Gathered], said: Known, heard: Heard) -> list[Answer]:
    """The same from evidence that was found before the label profiles were read."""
    by_arm: defaultdict[Arm, list[int]] = defaultdict(list)
    for place, it in enumerate(gathered):
        by_arm[it.arm].append(place)
    models = {
        Arm.RULES: heard.live if heard.shadow else None,
        Arm.MODEL: heard.live,
        Arm.CHALLENGER: heard.challenger,
    }
    found: dict[int, Answer] = {}
    for arm, places in by_arm.items():
        items, served = [gathered[place] for place in places], models[arm]
        bars = heard.bars(arm)
        try:
            answers = _answer(items, said, arm, served, bars)
        except Exception:
            if served is None:
                raise
            # Without the model that failed, rules and merchant history answer.
            metrics.model_failed(arm)
            log.exception("suggest.model_failed", arm=arm.value)
            by_rules = _answer(items, said, Arm.RULES, None, bars)
            answers = [it._replace(arm=arm) for it in by_rules]
        found.update(zip(places, answers, strict=True))
    return [found[place] for place in range(len(gathered))]


class Explained(NamedTuple):
    """What is shown for one transaction, and what each layer says of it.

    Attributes:
        voices: of the layers that are heard in the arm, in their order.
        unheard: what the live model says where the arm is RULES.
    """

    shown: Suggested
    arm: Arm
    voices: list[Voice]
    unheard: list[Voice]
    rejected: frozenset[str]


def explain(item: Asked, said: Known, heard: Heard) -> Explained:
    """Take the answer for one transaction apart; the layers that it did not need are asked, too."""
    arm = heard.arm(item.row.user_id)
    judge = heard.challenger if arm is Arm.CHALLENGER else heard.live
    bars = heard.bars(arm)
    evidence = _with_the_text(_without_a_model(item.row, said), item.row, said)
    unheard: list[Voice] = []
    if judge:
        (prediction,) = judge.model.predict_many([item.row])
        told_by = words_of(judge.model, item.row, prediction.label)  # all reasons are shown
        if arm is Arm.RULES:
            unheard = [*voices(Evidence(prediction=prediction, words=lambda: told_by), bars)]
        else:
            evidence = evidence._replace(prediction=prediction, words=lambda: told_by)
    told = [*voices(evidence, bars)]
    return Explained(decide(evidence, bars), arm, told, unheard, evidence.rejected)


def words_of(model: Model, row: FeatureRow, label: str) -> tuple[str, ...]:
    """The words of *row* that speak most for *label* in the linear score, at most WORDS."""
    columns = word_columns(row)
    if not columns:
        return ()
    at = np.array([column for _, column in columns])
    idf = model.base.encoder.idf[at]  # not scaled to length one: the order stays
    added = model.linear_contributions(at, idf, [model.labels.index(label)])[:, 0]
    told: list[str] = []
    for weight, (word, _) in sorted(zip(added.tolist(), columns, strict=True), reverse=True):
        # "hortons" says nothing beside "tim hortons".
        if weight > 0 and not any(f" {word} " in f" {other} " for other in told):
            told.append(word)
    return tuple(told[:WORDS])
