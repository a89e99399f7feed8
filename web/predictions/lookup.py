"""Predictions of raw and stored transactions; the stored ones are loaded in one query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Engine

from shared.db.engine import transaction
from shared.db.feature_store import load_raw
from shared.errors import LedgerError, NotFound
from shared.features.extract import RawTransaction, features_of
from shared.model.classifier import Prediction
from shared.registry.live_model import LoadedModel
from web.http import parsing, schemas
from web.http.problems import item_problem


def load_transaction(engine: Engine, txn_id: int) -> RawTransaction:
    """A stored transaction as `features_of` reads it.

    Raises:
        NotFound: there is none of this id, or it was deleted.
        Unavailable: PostgreSQL does not answer.
    """
    stored = _load(engine, [txn_id])
    if txn_id not in stored:
        raise NotFound("There is no such transaction")
    return stored[txn_id]


def predict_many(
    engine: Engine, adapter: TypeAdapter[Any], rows: Sequence[Any], served: LoadedModel | None
) -> list[dict[str, Any]]:
    """An answer for each row, in order, all from one version.

    Raises:
        Unavailable: a `txn_id` is among the rows and PostgreSQL does not answer.
    """
    checked = [_checked(adapter, row) for row in rows]
    ids = [row.txn_id for row in checked if isinstance(row, schemas.StoredTransaction)]
    stored = _load(engine, ids) if ids else {}
    raws = [_raw(row, stored) for row in checked]
    good = [raw for raw in raws if isinstance(raw, RawTransaction)]
    if served is None:
        answers: Iterable[dict[str, Any]] = ({"available": False} for _ in good)
    else:
        predictions = served.model.predict_many([features_of(raw) for raw in good])
        answers = (prediction_response(prediction, served) for prediction in predictions)
    remaining = iter(answers)
    return [
        next(remaining) if isinstance(raw, RawTransaction) else {"error": item_problem(raw)}
        for raw in raws
    ]


def prediction_response(prediction: Prediction, served: LoadedModel) -> dict[str, Any]:
    """A prediction, with the version that made it; a dict, since the fast path uses it."""
    return {
        "available": True,
        "label": prediction.label or None,
        "confidence": prediction.confidence if prediction.label else 0.0,
        "alternatives": [
            {"label": other.label, "confidence": other.confidence}
            for other in prediction.alternatives
        ],
        "model": {"run_id": served.deployment.run_id, "sequence": served.deployment.sequence},
    }


def _checked(adapter: TypeAdapter[Any], row: Any) -> Any:
    try:
        return parsing.parse_item(adapter, row)
    except ValidationError as error:
        return parsing.invalid(error)


def _raw(row: Any, stored: dict[int, RawTransaction]) -> RawTransaction | LedgerError:
    if isinstance(row, schemas.StoredTransaction):
        return stored.get(row.txn_id) or NotFound("There is no such transaction")
    if isinstance(row, LedgerError):
        return row
    return RawTransaction(**row.__dict__)


def _load(engine: Engine, txn_ids: Sequence[int]) -> dict[int, RawTransaction]:
    with transaction(engine) as session:
        return load_raw(session, txn_ids)
