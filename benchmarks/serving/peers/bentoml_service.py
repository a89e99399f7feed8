"""The pipeline as a BentoML service."""

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
        return [
            {"label": self.pipeline.classes_[one.argmax()], "confidence": float(one.max())}
            for one in self.pipeline.predict_proba(pd.DataFrame(rows))
        ]
