"""The open transactions of a user, or of all users, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import Engine

from shared.db import feature_store, open_transactions
from shared.db.engine import transaction
from shared.suggestions.service import SuggestionRequest

PAGE = 1_000


def pages(
    engine: Engine, user_id: str | None, report: Callable[[int, int], None]
) -> Iterator[list[SuggestionRequest]]:
    """All of them, by id; *report* gets how many are done, and of how many, before each page."""
    with transaction(engine) as session:
        total = open_transactions.count(session, user_id)
    done = after = 0
    while True:
        report(done, total)
        with transaction(engine) as session:
            ids = open_transactions.next_ids(session, user_id, after=after, limit=PAGE)
            rows = feature_store.load_rows(session, ids)
        if not ids:
            return
        yield [SuggestionRequest(rows[txn_id], txn_id) for txn_id in ids if txn_id in rows]
        done += len(rows)
        after = ids[-1]
