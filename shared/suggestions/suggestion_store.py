"""Stores suggestions, all of them or only those that changed."""

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
    session: Session, results: Sequence[SuggestionResult], *, forced: bool
) -> list[str | None]:
    """Store suggestions, *forced* if the caller named the arm.

    Gives their ids, in order, None where the transaction was deleted since.
    """
    # As in UUIDv7 the time comes first, so that the index grows at its end. One system call gives
    # the random bytes of all ids.
    now, random = f"{time.time_ns() // 1_000_000:012x}", secrets.token_hex(10 * len(results))
    rows: list[dict[str, Any]] = [
        {
            "id": now + random[20 * index : 20 * (index + 1)],
            "user_id": request.row.user_id,
            "txn_id": request.txn_id,
            "merchant": request.row.merchant,
            **decision._asdict(),
            "alternatives": [other._asdict() for other in decision.alternatives],
            "arm": arm,
            "forced": forced,
            "model_version": version,
            "rules_label": rules_label,
            "model_label": model_label,
        }
        for index, (request, decision, arm, version, rules_label, model_label) in enumerate(results)
    ]
    stored = {*session.scalars(_INSERT, {"rows": rows})} if rows else set()
    return [row["id"] if row["id"] in stored else None for row in rows]


_COMPARED = (
    Suggestion.label,
    Suggestion.confidence,
    Suggestion.layer,
    Suggestion.arm,
    Suggestion.model_version,
)


def store_changed(session: Session, results: Sequence[SuggestionResult], *, forced: bool) -> None:
    """Store those that differ from the newest suggestion of their stored transaction."""
    newest = (
        select(Suggestion.txn_id, *_COMPARED)
        .ext(distinct_on(Suggestion.txn_id))
        .where(Suggestion.txn_id.in_([it.request.txn_id for it in results]))
        .order_by(Suggestion.txn_id, Suggestion.created_at.desc(), Suggestion.id.desc())
    )
    before = {txn_id: tuple(rest) for txn_id, *rest in session.execute(newest)}
    changed = [it for it in results if before.get(it.request.txn_id) != _compared(it)]
    store(session, changed, forced=forced)


def _compared(result: SuggestionResult) -> tuple[Any, ...]:
    decision = result.decision
    return decision.label, decision.confidence, decision.layer, result.arm, result.model_version
