"""Stores suggestions; what differs from the newest one alone, if wanted."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.orm import Session

from shared.db.tables import Suggestion
from shared.suggestions.service import SuggestionResult

_INSERT = text(
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


def store(
    session: Session, answers: Sequence[SuggestionResult], *, forced: bool
) -> list[str | None]:
    """Store suggestions; give their ids, in order.

    An id is None where the transaction was deleted with its user meanwhile: nothing is stored.

    Args:
        forced: the caller named the arm.
    """
    # As in UUIDv7 the time comes first, so that an index grows at its end; random bytes for all
    # ids come from one system call, which takes longer than the rest.
    now, ids = f"{time.time_ns() // 1_000_000:012x}", secrets.token_hex(10 * len(answers))
    rows: list[dict[str, Any]] = [
        {
            "id": now + ids[20 * place : 20 * (place + 1)],
            "user_id": asked.row.user_id,
            "txn_id": asked.txn_id,
            "merchant": asked.row.merchant,
            "label": shown.label,
            "confidence": shown.confidence,
            "source": shown.source,
            "layer": shown.layer,
            "alternatives": [
                {"label": label, "confidence": it} for label, it in shown.alternatives
            ],
            "reasons": list(shown.reasons),
            "arm": arm,
            "forced": forced,
            "model_version": version,
            "rules_label": rules_label,
            "model_label": model_label,
        }
        for place, (asked, shown, arm, version, rules_label, model_label) in enumerate(answers)
    ]
    stored = {*session.scalars(_INSERT, {"rows": rows})} if rows else set()
    return [row["id"] if row["id"] in stored else None for row in rows]


def store_changed(
    session: Session, answers: Sequence[SuggestionResult], *, forced: bool
) -> list[str | None]:
    """Store only what differs from the newest suggestion of its stored transaction."""
    newest = (
        select(Suggestion.txn_id, *_COMPARED)
        .ext(distinct_on(Suggestion.txn_id))
        .where(Suggestion.txn_id.in_([it.request.txn_id for it in answers]))
        .order_by(Suggestion.txn_id, Suggestion.created_at.desc(), Suggestion.id.desc())
    )
    before = {txn_id: tuple(rest) for txn_id, *rest in session.execute(newest)}
    news = [it for it in answers if before.get(it.request.txn_id) != _compared(it)]
    return store(session, news, forced=forced)


_COMPARED = (
    Suggestion.label,
    Suggestion.confidence,
    Suggestion.layer,
    Suggestion.arm,
    Suggestion.model_version,
)


def _compared(answer: SuggestionResult) -> tuple[Any, ...]:
    shown = answer.decision
    return shown.label, shown.confidence, shown.layer, answer.arm, answer.model_version
