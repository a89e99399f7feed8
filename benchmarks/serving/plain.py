"""The peer that people build themselves: a scikit-learn pipeline behind a Flask view.

    python -m benchmarks.serving.plain PORT THREADS FOLDER

FOLDER holds `train.csv`, with what our model learns from. Words are hashed and weighted, the amount
and the weekday are columns beside them, and LightGBM makes 400 rounds of trees for each category.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from flask import Flask, request
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline

ROUNDS = 400
FOLDER = "BENCH_FOLDER"


def trained(path: Path) -> Pipeline:
    """The pipeline, fitted."""
    table = pd.read_csv(path, keep_default_na=False)
    words = make_pipeline(
        HashingVectorizer(ngram_range=(1, 2), n_features=2**12), TfidfTransformer()
    )
    columns = ColumnTransformer(
        [("words", words, "text"), ("numbers", "passthrough", ["amount", "weekday"])]
    )
    forest = LGBMClassifier(n_estimators=ROUNDS, max_bin=15, num_threads=1, verbose=-1)
    return Pipeline([("columns", columns), ("forest", forest)]).fit(table, table["label"])


def create() -> Flask:
    """Flask's view around the pipeline: one transaction, or `rows` of them."""
    app = Flask(__name__)
    pipeline = trained(Path(os.environ[FOLDER]) / "train.csv")
    labels = list(pipeline.classes_)

    def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        table = pd.DataFrame(rows)
        table["text"] = table["merchant"]
        table["weekday"] = pd.to_datetime(table["date"]).dt.weekday
        return [
            {"label": labels[one.argmax()], "confidence": float(one.max())}
            for one in pipeline.predict_proba(table)
        ]

    @app.post("/ml/v2/predict")
    def predict() -> dict[str, Any]:
        return told([request.get_json()])[0]

    @app.post("/ml/v2/predict/batch")
    def predict_batch() -> list[dict[str, Any]]:
        return told(request.get_json()["rows"])

    return app


def main(argv: list[str]) -> None:
    port, threads, folder = argv
    os.environ[FOLDER] = folder
    Granian(
        "benchmarks.serving.plain:create",
        factory=True,
        port=int(port),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=1,
        blocking_threads=int(threads),
        websockets=False,
        log_enabled=False,
    ).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
