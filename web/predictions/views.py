"""/ml/v2/predict: predictions for one or many transactions, and explanations.

Most requests for one transaction are answered by fast_path.py, which calls `predict_response`.
"""

from __future__ import annotations

import time
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter

from shared.features.extract import RawTransaction, features_of
from shared.model.explain import explain
from shared.monitoring import metrics
from shared.services import Services
from web.http import schemas
from web.http.context import get_services
from web.http.context import ml_v2 as bp
from web.http.openapi import documented
from web.http.parsing import parse
from web.predictions import explanation_schemas, lookup

PREDICT: TypeAdapter[Any] = TypeAdapter(schemas.PredictRequest)


@bp.post("/predict")
@documented(body=schemas.PredictRequest, answer=schemas.Prediction, errors=(404, 503))
def predict() -> ResponseReturnValue:
    """Say which category a transaction belongs to.

    Raw fields, each of which may be missing, or `{"txn_id": …}`. Raw fields need neither the
    database nor the broker; only the look-up of a `txn_id` answers 503 while PostgreSQL is down.
    """
    return predict_response(_transaction(parse(PREDICT)), get_services())


def predict_response(raw: RawTransaction, services: Services) -> dict[str, Any]:
    """The prediction for one transaction, as JSON."""
    started = time.perf_counter()
    with metrics.time_phase("predict", "features"):
        row = features_of(raw)
    with metrics.time_phase("predict", "model"):
        answer = services.live_model.predict(row)
    seconds, empty = time.perf_counter() - started, bool(answer and not answer.prediction.label)
    metrics.count_prediction(available=answer is not None, seconds=seconds, empty=empty)
    if answer is None:
        return {"available": False}
    return lookup.prediction_response(answer.prediction, answer.model)


@bp.post("/predict/batch")
@documented(body=schemas.PredictBatchRequest, answer=schemas.PredictBatchAnswer, errors=(503,))
def predict_batch() -> ResponseReturnValue:
    """Predict up to 1,000 rows, in order, all by one version; a bad row gets an error."""
    services, rows = get_services(), parse(schemas.PredictBatchRequest).rows
    started = time.perf_counter()
    served = services.live_model.current()
    results = lookup.predict_many(services.engine, PREDICT, rows, served)
    empty = sum(it.get("available", False) and it["label"] is None for it in results)
    seconds = time.perf_counter() - started
    metrics.count_prediction(available=served is not None, seconds=seconds, empty=empty)
    return {"results": results}


@bp.post("/predict/explain")
@documented(body=schemas.PredictRequest, answer=explanation_schemas.Explanation, errors=(404, 503))
def predict_explain() -> ResponseReturnValue:
    """Predict one transaction, and explain the score of each candidate.

    Takes what `/ml/v2/predict` takes, and answers the same label and confidence.
    """
    row = features_of(_transaction(parse(PREDICT)))
    served = get_services().live_model.current()
    if served is None:
        return {"available": False}
    return jsonify(explanation_schemas.explanation_response(explain(served.model, row), served))


def _transaction(args: schemas.RawFields | schemas.StoredTransaction) -> RawTransaction:
    if isinstance(args, schemas.StoredTransaction):
        with metrics.time_phase("predict", "lookup"):
            return lookup.load_transaction(get_services().engine, args.txn_id)
    return RawTransaction(**args.__dict__)
