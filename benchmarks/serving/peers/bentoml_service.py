"""The pipeline as a BentoML service: as it is, and with its adaptive batching.

Batches are as BentoML's page on adaptive batching shows them; 32 is how many clients wait at most.
"""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1)
class Categories:
    """Takes rows as the pipeline's columns."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCH_PIPELINE"])

    @bentoml.api
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The likeliest label of each row, and how likely it is."""
        return _format_predictions(self.pipeline, rows)


@bentoml.service(workers=1)
class Batching:
    """The same; rows of requests that wait at once are answered together."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCH_PIPELINE"])

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The likeliest label of each row, and how likely it is."""
        return _format_predictions(self.pipeline, rows)


def _format_predictions(pipeline: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"label": pipeline.classes_[one.argmax()], "confidence": float(one.max())}
        for one in pipeline.predict_proba(pd.DataFrame(rows))
    ]
