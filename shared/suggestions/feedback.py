"""Feedback: a user's answer to a suggestion becomes a label at once, and can be undone exactly.

Answers to one suggestion form a stack: each stores the label that was there before, and undo
removes the newest. An answer's label has the answer's own time, which tells it from a label that
was set since, even of the same category. Only answers make labels; a suggestion never does.

Locks are taken in one order: transaction, suggestion, label.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import feature_store, labels
from shared.db.tables import (
    Action,
    LabelSource,
    Suggestion,
    SuggestionAnswer,
    Transaction,
    TransactionLabel,
)
from shared.errors import Conflict, InvalidInput, NotFound


class AnswerState(NamedTuple):
    """The newest answer to a suggestion that was not undone, and the transaction's label."""

    suggestion_id: str
    answer: Action | None
    answer_label: str | None
    label: str | None


def record(
    session: Session,
    suggestion_id: str,
    action: Action,
    label: str | None,
    *,
    only_waiting: bool = False,
) -> AnswerState:
    """Record an answer; the same one again changes nothing.

    Args:
        label: the right category, for CORRECT only.
        only_waiting: refuse if the suggestion was answered, or the transaction labelled, meanwhile.

    Raises:
        NotFound: there is no such suggestion.
        InvalidInput: *label* is missing, or not allowed for this action; or there is no suggested
            label to accept or reject.
        Conflict: a correction of a transaction that is not stored; or `only_waiting` refuses.
    """
    suggestion = _lock_suggestion(session, suggestion_id)
    label = _resolve_label(suggestion, action, label)
    if label == suggestion.label and action is Action.CORRECT:
        action = Action.ACCEPT
    newest = _newest_answer(session, suggestion_id)
    before = _label(session, suggestion)
    is_repeated = newest is not None and (newest.action, newest.label) == (action, label)
    if is_repeated and (suggestion.txn_id is None or _is_in_effect(action, label, before)):
        return _state(session, suggestion)
    is_labelled = before is not None and before.source is not LabelSource.RULE
    if only_waiting and (newest is not None or is_labelled):
        raise Conflict("It was answered meanwhile; nothing was changed")
    if suggestion.txn_id is not None:
        if action is not Action.REJECT:
            before = labels.put_by_person(session, suggestion.txn_id, label)
            # With its features, the merchant's next suggestion finds this label.
            feature_store.build_one(session, suggestion.txn_id)
        elif before is not None and before.label == label:
            labels.remove(session, suggestion.txn_id)
    session.add(
        SuggestionAnswer(
            suggestion_id=suggestion_id,
            user_id=suggestion.user_id,
            merchant=suggestion.merchant,
            action=action,
            label=label,
            before=_as_json(before),
        )
    )
    _set_answer(suggestion, action, label)
    return _state(session, suggestion)


def undo(session: Session, suggestion_id: str) -> AnswerState:
    """Undo the newest answer, if there is one, and restore the label that was there before it.

    Raises:
        NotFound: there is no such suggestion.
        Conflict: the transaction was labelled anew since; that label stays.
    """
    suggestion = _lock_suggestion(session, suggestion_id)
    newest = _newest_answer(session, suggestion_id)
    if newest is None:
        return _state(session, suggestion)
    if suggestion.txn_id is not None and _changed_the_label(newest):
        if not _label_is_from(newest, _label(session, suggestion)):
            raise Conflict("The transaction was labelled anew since; nothing was undone")
        labels.restore(session, suggestion.txn_id, newest.before)
    newest.undone_at = dt.datetime.now(dt.UTC)
    session.flush()
    earlier = _newest_answer(session, suggestion_id)
    _set_answer(suggestion, *((earlier.action, earlier.label) if earlier else (None, None)))
    return _state(session, suggestion)


def _lock_suggestion(session: Session, suggestion_id: str) -> Suggestion:
    """The suggestion; no other answer for its transaction is recorded meanwhile."""
    txn_id = session.scalar(select(Suggestion.txn_id).where(Suggestion.id == suggestion_id))
    if txn_id is not None:
        # Not FOR UPDATE: others may insert its label, which locks the transaction as well.
        stored = select(Transaction.id).where(Transaction.id == txn_id)
        session.execute(stored.with_for_update(key_share=True))
    suggestion = session.get(
        Suggestion, suggestion_id, with_for_update=True, populate_existing=True
    )
    if suggestion is None:
        raise NotFound("There is no such suggestion")
    return suggestion


def _resolve_label(suggestion: Suggestion, action: Action, label: str | None) -> str:
    if action is Action.CORRECT:
        if label is None:
            raise InvalidInput.of_field("label", "is needed: what it is instead")
        if suggestion.txn_id is None:
            raise Conflict("Only a stored transaction can be corrected: store it, then suggest")
        return label
    if label is not None:
        raise InvalidInput.of_field("label", f"is for the action correct, not for {action.value}")
    if suggestion.label is None:
        raise InvalidInput.of_field(
            "action", f"nothing was suggested that one could {action.value}"
        )
    return suggestion.label


def _newest_answer(session: Session, suggestion_id: str) -> SuggestionAnswer | None:
    answers = select(SuggestionAnswer).where(
        SuggestionAnswer.suggestion_id == suggestion_id, SuggestionAnswer.undone_at.is_(None)
    )
    return session.scalars(answers.order_by(SuggestionAnswer.id.desc()).limit(1)).one_or_none()


def _is_in_effect(action: Action, label: str, now: TransactionLabel | None) -> bool:
    """Whether the transaction's label is as this answer would leave it."""
    if action is Action.REJECT:
        return now is None or now.label != label
    return now is not None and (now.label, now.source) == (label, LabelSource.HUMAN)


def _changed_the_label(answer: SuggestionAnswer) -> bool:
    if answer.action is not Action.REJECT:
        return True
    return answer.before is not None and answer.before["label"] == answer.label


def _label_is_from(answer: SuggestionAnswer, label: TransactionLabel | None) -> bool:
    """Whether the transaction's label is the very one that the answer set, or none after REJECT."""
    if answer.action is Action.REJECT or label is None:
        return answer.action is Action.REJECT and label is None
    expected = (answer.label, LabelSource.HUMAN, answer.created_at)
    return (label.label, label.source, label.updated_at) == expected


def _label(session: Session, suggestion: Suggestion) -> TransactionLabel | None:
    return None if suggestion.txn_id is None else labels.lock(session, suggestion.txn_id)


def _as_json(label: TransactionLabel | None) -> dict[str, Any] | None:
    if label is None:
        return None
    return {
        "label": label.label,
        "source": label.source.value,
        "created_at": label.created_at.isoformat(),
        "updated_at": label.updated_at.isoformat(),
    }


def _set_answer(suggestion: Suggestion, action: Action | None, label: str | None) -> None:
    suggestion.answer, suggestion.answer_label = action, label
    suggestion.answered_at = dt.datetime.now(dt.UTC) if action else None


def _state(session: Session, suggestion: Suggestion) -> AnswerState:
    session.flush()
    now = _label(session, suggestion)
    return AnswerState(
        suggestion.id, suggestion.answer, suggestion.answer_label, now.label if now else None
    )
