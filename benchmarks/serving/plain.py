"""A peer as many people build it: a scikit-learn pipeline behind a Flask view.

Words are hashed and weighted by TF-IDF, the amount and the weekday are columns beside them, and
LightGBM fits 400 rounds of trees for each category. The pipeline is stored by joblib, as usual.
"""

from __future__ import annotations

import os
from typing import Any

import joblib
import pandas as pd
from flask import Flask, request
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline

ROUNDS = 400
FILE = "BENCH_PIPELINE"  # the environment variable with the path of the pipeline


def train(rows: list[dict[str, Any]], labels: list[str]) -> Pipeline:
    """Fit the pipeline to transactions in the form of the API."""
    hashed = HashingVectorizer(ngram_range=(1, 2), n_features=2**12)
    columns = ColumnTransformer(
        [
            ("words", make_pipeline(hashed, TfidfTransformer()), "merchant"),
            ("numbers", "passthrough", ["amount", "weekday"]),
        ]
    )
    forest = LGBMClassifier(n_estimators=ROUNDS, max_bin=15, num_threads=1, verbose=-1)
    return Pipeline([("columns", columns), ("forest", forest)]).fit(_table(rows), labels)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table["weekday"] = pd.to_datetime(table["date"]).dt.weekday
    return table


app = Flask(__name__)
pipeline: Any = joblib.load(os.environ[FILE]) if FILE in os.environ else None


@app.post("/ml/v2/predict")
def predict() -> dict[str, Any]:
    """Predict one transaction."""
    return _predictions([request.get_json()])[0]


@app.post("/ml/v2/predict/batch")
def predict_batch() -> list[dict[str, Any]]:
    """Predict `rows` transactions."""
    return _predictions(request.get_json()["rows"])


def _predictions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"label": pipeline.classes_[shares.argmax()], "confidence": float(shares.max())}
        for shares in pipeline.predict_proba(_table(rows))
    ]
