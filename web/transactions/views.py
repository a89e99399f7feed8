"""/ml/v2/transactions and /ml/v2/labels: what callers store."""

from __future__ import annotations

from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter

from shared.db.engine import transaction
from web.http import schemas
from web.http.context import ml_v2 as bp
from web.http.context import services
from web.http.openapi import documented
from web.http.parsing import parse
from web.transactions import upserts

TRANSACTIONS = TypeAdapter(schemas.TransactionsRequest)
LABELS = TypeAdapter(schemas.LabelsRequest)


@bp.post("/transactions")
@documented(body=schemas.TransactionsRequest, answer=schemas.StoredItems, errors=(503,))
def transactions() -> ResponseReturnValue:
    """Insert or update transactions by `external_id`; `deleted: true` deletes one softly."""
    items = parse(TRANSACTIONS).transactions
    with transaction(services().engine) as session:
        return upserts.store_transactions(session, items).as_json()


@bp.post("/labels")
@documented(body=schemas.LabelsRequest, answer=schemas.StoredItems, errors=(503,))
def labels() -> ResponseReturnValue:
    """Say what transactions are; a person's label is never replaced by an import's or a rule's."""
    items = parse(LABELS).labels
    with transaction(services().engine) as session:
        return upserts.store_labels(session, items).as_json()
