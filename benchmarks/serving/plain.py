"""The peer that people build themselves: a scikit-learn pipeline behind a Flask view.

Words are hashed and weighted, the amount and the weekday are columns beside them, and LightGBM
makes 400 rounds of trees for each category. The pipeline is kept by joblib, as its users do.
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
FILE = "BENCH_PIPELINE"  # in the environment of the server


def trained(rows: list[dict[str, Any]], labels: list[str]) -> Pipeline:
    """The pipeline, fitted to transactions as they are asked about."""
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
pipeline = joblib.load(os.environ[FILE]) if FILE in os.environ else None


@app.post("/ml/v2/predict")
def predict() -> dict[str, Any]:
    """One transaction."""
    return _told([request.get_json()])[0]


@app.post("/ml/v2/predict/batch")
def predict_batch() -> list[dict[str, Any]]:
    """`rows` of them."""
    return _told(request.get_json()["rows"])


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"label": pipeline.classes_[one.argmax()], "confidence": float(one.max())}
        for one in pipeline.predict_proba(_table(rows))
    ]
