"""Gathers what all layers know of some transactions, has `shared.suggest` decide, keeps the answer.

Any number of transactions, of any users, costs the same number of queries. Without PostgreSQL the
model and the starter rules answer alone, and the answer says so.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from shared import metrics_ml, rulebook
from shared.bars import RECENT, Bars
from shared.encode import word_columns
from shared.features import FeatureRow
from shared.log import get_logger
from shared.memory import Memory, Told
from shared.model import Model, Prediction
from shared.rollout import Rollout, arm_of
from shared.rules import RuleBook
from shared.runtime import Served
from shared.services import Services
from shared.starter import Habits
from shared.suggest import Evidence, Prior, Suggested, decide
from shared.tables import Arm, MerchantPrior

log = get_logger()
WORDS = 4  # of a transaction are named as the model's reason
LOOKED_AT = 2_000  # newest transactions of a merchant that are searched for labels
HABITS_FROM = 100  # labelled transactions of a user that his habits are read from

Merchants = Sequence[tuple[str, str]]  # user ('': none is known) and cleaned merchant

_MEMORY = text(
    f"""
    SELECT wanted.user_id, wanted.merchant, told.label, count(*), max(told.date),
        bool_or(told.newest AND told.corrected)
    FROM unnest(:users, :merchants) AS wanted(user_id, merchant)
    CROSS JOIN LATERAL (
        SELECT label.label, near.date,
            row_number() OVER (ORDER BY label.updated_at DESC, label.txn_id DESC) = 1 AS newest,
            EXISTS (
                SELECT FROM suggestions JOIN suggestion_answers AS answer
                    ON answer.suggestion_id = suggestions.id
                WHERE suggestions.txn_id = label.txn_id AND answer.action = 'correct'
                    AND answer.undone_at IS NULL AND answer.label = label.label
            ) AS corrected
        FROM (
            SELECT f.txn_id, f.date FROM ml_features AS f
            WHERE f.user_id = wanted.user_id AND f.merchant = wanted.merchant
            ORDER BY f.date DESC LIMIT {LOOKED_AT}
        ) AS near
        JOIN transaction_labels AS label ON label.txn_id = near.txn_id AND label.source <> 'rule'
        ORDER BY near.date DESC, near.txn_id DESC LIMIT {RECENT}
    ) AS told
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 5 DESC
    """  # noqa: S608  our own numbers
).bindparams(bindparam("users", type_=ARRAY(Text)), bindparam("merchants", type_=ARRAY(Text)))

_REJECTED = text(
    """
    SELECT DISTINCT user_id, merchant, label FROM suggestion_answers AS said
    WHERE (user_id, merchant) IN (SELECT * FROM unnest(:users, :merchants))
        AND action = 'reject' AND undone_at IS NULL AND label IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM suggestion_answers AS later
            WHERE later.user_id = said.user_id AND later.merchant = said.merchant
                AND later.label = said.label AND later.action <> 'reject'
                AND later.undone_at IS NULL AND later.id > said.id
        )
    """
).bindparams(bindparam("users", type_=ARRAY(Text)), bindparam("merchants", type_=ARRAY(Text)))

_HABITS = text(
    f"""
    SELECT own.* FROM unnest(:users) AS wanted(user_id)
    CROSS JOIN LATERAL (
        SELECT l.label, {", ".join(f"f.{name}" for name in FeatureRow._fields)}
        FROM ml_features AS f JOIN transaction_labels AS l USING (txn_id)
        WHERE f.user_id = wanted.user_id AND l.source <> 'rule' LIMIT {HABITS_FROM}
    ) AS own
    """  # noqa: S608
).bindparams(bindparam("users", type_=ARRAY(Text)))


class Asked(NamedTuple):
    """A transaction to be suggested for; `txn_id` is None where it is not a stored one."""

    row: FeatureRow
    txn_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What PostgreSQL says of the users and merchants asked about."""

    memories: Mapping[tuple[str, str], Memory]
    rejected: Mapping[tuple[str, str], frozenset[str]]
    priors: Mapping[str, Prior]
    habits: Mapping[str, Habits]  # by user
    books: Mapping[str, RuleBook]  # by user, and everyone's


NOTHING = Known(memories={}, rejected={}, priors={}, habits={}, books={})
NO_RULES = RuleBook(())
NO_HABITS = Habits()


def known(session: Session, merchants: Merchants) -> Known:
    """All of it in six queries at most."""
    wanted = sorted({(user, merchant) for user, merchant in merchants if merchant})
    users, names = [user for user, _ in wanted], [merchant for _, merchant in wanted]
    pairs = {"users": users, "merchants": names}
    told: defaultdict[tuple[str, str], dict[str, Told]] = defaultdict(dict)
    corrected: dict[tuple[str, str], str] = {}
    for user, merchant, label, times, last, is_correction in session.execute(_MEMORY, pairs):
        told[user, merchant][label] = Told(times, last)
        if is_correction:
            corrected[user, merchant] = label
    rejected: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for user, merchant, label in session.execute(_REJECTED, pairs):
        rejected[user, merchant].add(label)
    priors = select(MerchantPrior).where(MerchantPrior.merchant.in_(set(names)))
    best: dict[str, Prior] = {}
    for prior in session.scalars(priors.order_by(MerchantPrior.users, MerchantPrior.label)):
        best[prior.merchant] = Prior(prior.label, prior.users, prior.of_users)
    own: defaultdict[str, Habits] = defaultdict(Habits)
    for label, *told_of in session.execute(
        _HABITS, {"users": sorted({user for user, _ in merchants})}
    ):
        row = FeatureRow(*told_of)
        own[row.user_id].learn(row, label)
    return Known(
        memories={key: Memory(labels, corrected.get(key)) for key, labels in told.items()},
        rejected={key: frozenset(labels) for key, labels in rejected.items()},
        priors=best,
        habits=own,
        books=rulebook.books(session, {user for user, _ in merchants}),
    )


class Answer(NamedTuple):
    """What is shown for one transaction, and what rules and model would each say alone."""

    asked: Asked
    suggested: Suggested
    arm: Arm
    model_version: str | None  # of the model that was heard
    rules_label: str | None
    model_label: str | None


def answer(
    asked: Sequence[Asked], said: Known, arm: Arm, served: Served | None, bars: Bars
) -> list[Answer]:
    """Suggest for each transaction, in order. In the arm RULES the model is heard, not shown."""
    rows = [item.row for item in asked]
    predictions: list[Prediction | None] = [None] * len(rows)
    words: list[tuple[str, ...]] = [()] * len(rows)
    if served is not None:
        told = served.model.predict_many(rows)
        predictions = [*told]
        if arm is not Arm.RULES:
            words = [
                words_of(served.model, row, prediction.label)
                for row, prediction in zip(rows, told, strict=True)
            ]
    version = served.pointer.run_id if served else None
    answers = []
    for item, prediction, moved in zip(asked, predictions, words, strict=True):
        row = item.row
        key = row.user_id, row.merchant
        own = said.books.get(row.user_id, NO_RULES) if row.user_id else NO_RULES
        rules = Evidence(
            own_rule=own.match(row),
            shared_rule=said.books.get(rulebook.EVERYONE, NO_RULES).match(row),
            memory=said.memories.get(key),
            prior=said.priors.get(row.merchant),
            rejected=said.rejected.get(key, frozenset()),
        )
        by_rules = decide(rules, bars)
        if by_rules.label is None:
            habits = said.habits.get(row.user_id, NO_HABITS)
            rules = replace(rules, starter=habits.starter(row))
            by_rules = decide(rules, bars)
        shown = by_rules
        if arm is not Arm.RULES:
            shown = decide(replace(rules, prediction=prediction, words=moved), bars)
        alone = Evidence(prediction=prediction, rejected=rules.rejected)
        by_model = decide(alone, bars).label if prediction else None
        answers.append(Answer(item, shown, arm, version, by_rules.label, by_model))
    return answers


class Heard(NamedTuple):
    """Who may be heard, and by whom; see shared/rollout.py."""

    live: Served | None
    challenger: Served | None
    holds: Rollout
    shadow: bool
    salt: str
    thresholds: Mapping[str, float]


def heard(own: Services, holds: Rollout) -> Heard:
    """The models of this process. While the one on trial is not loaded, it is as if none were."""
    challenger = own.challengers.model(holds.challenger)
    return Heard(
        own.runtime.served(),
        challenger,
        holds if challenger else holds.without_trial(),
        own.settings.suggest_shadow,
        own.settings.suggest_salt,
        own.settings.suggest_thresholds,
    )


def answer_all(
    asked: Sequence[Asked], said: Known, heard: Heard, forced: Arm | None = None
) -> list[Answer]:
    """Suggest for each transaction by the arm of its user, in order."""
    by_arm: defaultdict[Arm, list[int]] = defaultdict(list)
    for place, item in enumerate(asked):
        by_arm[forced or arm_of(item.row.user_id, heard.holds, heard.salt)].append(place)
    models = {
        Arm.RULES: heard.live if heard.shadow else None,
        Arm.MODEL: heard.live,
        Arm.CHALLENGER: heard.challenger,
    }
    found: dict[int, Answer] = {}
    for arm, places in by_arm.items():
        items, served = [asked[place] for place in places], models[arm]
        # The same whether the model is listened to or not: shadow changes no answer.
        judge = heard.challenger if arm is Arm.CHALLENGER else heard.live
        bars = (judge.model.bars if judge else Bars()).overridden(heard.thresholds)
        try:
            answers = answer(items, said, arm, served, bars)
        except Exception:
            if served is None:
                raise
            # A model that fails hurts none: rules and memory answer.
            metrics_ml.model_failed(arm)
            log.exception("suggest.model_failed", arm=arm.value)
            by_rules = answer(items, said, Arm.RULES, None, bars)
            answers = [it._replace(arm=arm) for it in by_rules]
        found.update(zip(places, answers, strict=True))
    return [found[place] for place in range(len(asked))]


def words_of(model: Model, row: FeatureRow, label: str) -> tuple[str, ...]:
    """The words of *row* that speak most for *label* in the linear score, at most WORDS."""
    columns = word_columns(row)
    if not columns:
        return ()
    weights, place = model.base.weights, model.labels.index(label)
    at = [column for _, column in columns]
    added = weights.values[at, 0, place] * weights.scale[at, 0, 0] * model.base.encoder.idf[at]
    told: list[str] = []
    for weight, (word, _) in sorted(zip(added.tolist(), columns, strict=True), reverse=True):
        # "hortons" says nothing beside "tim hortons".
        if weight > 0 and not any(f" {word} " in f" {other} " for other in told):
            told.append(word)
    return tuple(told[:WORDS])


_KEEP = text(
    """
    INSERT INTO suggestions (
        id, user_id, txn_id, merchant, label, confidence, source, layer, alternatives, reasons,
        arm, forced, model_version, rules_label, model_label
    )
    SELECT * FROM jsonb_to_recordset(:rows) AS made (
        id text, user_id text, txn_id bigint, merchant text, label text, confidence float8,
        source text, layer text, alternatives jsonb, reasons jsonb,
        arm text, forced boolean, model_version text, rules_label text, model_label text
    )
    WHERE txn_id IS NULL
        OR EXISTS (SELECT FROM transactions WHERE transactions.id = made.txn_id FOR KEY SHARE)
    RETURNING id
    """
).bindparams(bindparam("rows", type_=JSONB))


def keep(session: Session, answers: Sequence[Answer], *, forced: bool) -> list[str | None]:
    """Store what was suggested; give the ids, in order.

    None is where the transaction has been taken away with its user meanwhile: nothing is stored.

    Args:
        forced: the caller named the arm.
    """
    rows: list[dict[str, Any]] = [
        {
            "id": secrets.token_hex(16),
            "user_id": asked.row.user_id,
            "txn_id": asked.txn_id,
            "merchant": asked.row.merchant,
            "label": shown.label,
            "confidence": shown.confidence,
            "source": shown.source,
            "layer": shown.layer,
            "alternatives": [other._asdict() for other in shown.alternatives],
            "reasons": list(shown.reasons),
            "arm": arm,
            "forced": forced,
            "model_version": version,
            "rules_label": rules_label,
            "model_label": model_label,
        }
        for asked, shown, arm, version, rules_label, model_label in answers
    ]
    kept = {*session.scalars(_KEEP, {"rows": rows})} if rows else set()
    return [row["id"] if row["id"] in kept else None for row in rows]
