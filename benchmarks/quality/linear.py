"""Methods that give each label a share: linear classifiers over text, and a plain forest."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import lightgbm
import numpy as np
from scipy.sparse import csr_array, csr_matrix, hstack
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import HashingVectorizer

from benchmarks.quality.simple import TOP, Answers, FloatArray, Labels, Txns
from shared.features.encoder import Encoder, encode_text
from shared.features.extract import RawTransaction, features_of

USER_ENTRY = 0.5  # beside text of norm one; chosen between 0.3 and 1.0, and not tuned
HASH_KEY = b""  # no user or account may be hidden from a peer; nothing is stored
CHUNK = 4096  # rows answered at once
FOREST_ROWS = 20_000  # multiclass boosting grows labels x rounds trees, so its rows are bounded
FOREST_ROUNDS = 40
FOREST_COLUMNS = 2**12


class Linear:
    """A linear classifier, one label against the rest, over what *features* makes of the text."""

    def __init__(self, features: Features, classifier: Any) -> None:
        self._features, self._classifier = features, classifier

    def fit(self, txns: Txns, labels: Labels) -> None:
        matrix = self._features.fit_transform(txns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._classifier.fit(matrix, np.array(labels, dtype=object))

    def answer(self, txns: Txns) -> Answers:
        return _in_chunks(txns, self._shares, self._classifier.classes_)

    def _shares(self, txns: Txns) -> FloatArray:
        matrix = self._features.transform(txns)
        if hasattr(self._classifier, "predict_proba"):
            return np.asarray(self._classifier.predict_proba(matrix))
        scores = self._classifier.decision_function(matrix)
        if scores.ndim == 1:  # of two labels
            scores = np.stack([-scores, scores], axis=1)
        return np.asarray(softmax(scores, axis=1))


class Features(Protocol):
    """From transactions to a sparse matrix."""

    def fit_transform(self, txns: Txns) -> Any: ...

    def transform(self, txns: Txns) -> Any: ...


class Text:
    """A vectorizer of scikit-learn over merchant and description."""

    def __init__(self, vectorizer: Any) -> None:
        self._vectorizer = vectorizer

    def fit_transform(self, txns: Txns) -> Any:
        return self._vectorizer.fit_transform([text_of(txn) for txn in txns])

    def transform(self, txns: Txns) -> Any:
        return self._vectorizer.transform([text_of(txn) for txn in txns])


class Hashed:
    """The columns of `shared.features.encoder`: hashed text, amount, channel, likely category."""

    _encoder: Encoder

    def fit_transform(self, txns: Txns) -> csr_array:
        grams = encode_text([features_of(txn) for txn in txns], HASH_KEY)
        self._encoder = Encoder.fitted(grams)
        return self._encoder.weigh(grams)

    def transform(self, txns: Txns) -> csr_array:
        return self._encoder.encode([features_of(txn) for txn in txns], HASH_KEY)


class HashedWithUsers:
    """The columns of `Hashed`, and one for each user, account, and user with merchant or word."""

    def __init__(self) -> None:
        self._hashed = Hashed()
        self._crosses = HashingVectorizer(
            analyzer=_user_tokens, n_features=2**18, alternate_sign=False, norm=None, binary=True
        )

    def fit_transform(self, txns: Txns) -> Any:
        return self._joined(self._hashed.fit_transform(txns), txns)

    def transform(self, txns: Txns) -> Any:
        return self._joined(self._hashed.transform(txns), txns)

    def _joined(self, columns: csr_array, txns: Txns) -> Any:
        return hstack([columns, USER_ENTRY * self._crosses.transform(txns)], format="csr")


def _user_tokens(txn: RawTransaction) -> list[str]:
    row = features_of(txn)
    first = row.merchant.split(" ", 1)[0]
    own = [f"user {row.user_id}", f"{row.user_id} {row.line}", f"{row.user_id} word {first}"]
    return [*(own if row.user_id else ()), *([f"account {row.account}"] if row.account else ())]


def text_of(txn: RawTransaction) -> str:
    return f"{txn.merchant or ''} {txn.description or ''}".strip()


def _in_chunks(txns: Txns, shares_of: Callable[[Txns], FloatArray], names: Any) -> Answers:
    """The best of the shares, shape (n, K), that the labels *names* have of each transaction."""
    ranked: list[tuple[str, ...]] = []
    confidence = [np.zeros(0)]
    for start in range(0, len(txns), CHUNK):
        shares = shares_of(txns[start : start + CHUNK])
        best = np.argsort(-shares, axis=1, kind="stable")[:, :TOP]
        ranked += [tuple(row) for row in np.asarray(names)[best].tolist()]
        confidence.append(np.take_along_axis(shares, best[:, :1], axis=1)[:, 0])
    return Answers(ranked, np.concatenate(confidence))


class Forest:
    """LightGBM with an objective for many labels, kept from falling apart; the latest rows only."""

    def fit(self, txns: Txns, labels: Labels) -> None:
        labels = labels[-FOREST_ROWS:]
        self._labels, truth = np.unique(np.array(labels, dtype=object), return_inverse=True)
        params = {
            "objective": "multiclass",
            "num_class": self._labels.size,
            "learning_rate": 0.1,
            "num_leaves": 31,
            "min_data_in_leaf": 5,
            "min_sum_hessian_in_leaf": 1.0,
            "lambda_l2": 1.0,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "seed": 0,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(self._matrix(txns[-FOREST_ROWS:]), truth, params=params)
        self._booster = lightgbm.train(params, data, num_boost_round=FOREST_ROUNDS)

    def answer(self, txns: Txns) -> Answers:
        def shares(part: Txns) -> FloatArray:
            return np.asarray(self._booster.predict(self._matrix(part), num_threads=1))

        return _in_chunks(txns, shares, self._labels)

    def _matrix(self, txns: Txns) -> csr_matrix:
        words = HashingVectorizer(
            n_features=FOREST_COLUMNS, alternate_sign=False, norm=None, binary=True
        ).transform([text_of(txn) for txn in txns])
        amounts = [txn.amount or 0.0 for txn in txns]
        plain = [
            [math.copysign(math.log1p(abs(amount)), amount), txn.date.weekday(), txn.date.day]
            for txn, amount in zip(txns, amounts, strict=True)
            if txn.date is not None
        ]
        return csr_matrix(hstack([words, csr_matrix(np.array(plain, dtype=np.float64))]))
