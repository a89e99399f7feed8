"""/ml/v2/transactions and /ml/v2/labels: bulk upserts."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from shared.db.engine import transaction
from web.http import schemas
from web.http.context import get_services
from web.http.context import ml_v2 as bp
from web.http.openapi import documented
from web.http.parsing import parse
from web.transactions import upserts


@bp.post("/transactions")
@documented(body=schemas.TransactionsRequest, answer=schemas.StoredItems, errors=(503,))
def transactions() -> ResponseReturnValue:
    """Insert or update transactions by `external_id`; `deleted: true` deletes one softly."""
    items = parse(schemas.TransactionsRequest).transactions
    with transaction(get_services().engine) as session:
        return jsonify(upserts.store_transactions(session, items))


@bp.post("/labels")
@documented(body=schemas.LabelsRequest, answer=schemas.StoredItems, errors=(503,))
def labels() -> ResponseReturnValue:
    """Label transactions; a person's label is never replaced by an import's or a rule's."""
    items = parse(schemas.LabelsRequest).labels
    with transaction(get_services().engine) as session:
        return jsonify(upserts.store_labels(session, items))
