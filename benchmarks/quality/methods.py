"""Ours and the baselines, all with one face, by the names that the command line has for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.svm import LinearSVC

from benchmarks.quality.linear import Forest, Hashed, HashedWithUsers, Linear, Text
from benchmarks.quality.simple import (
    TOP,
    Answers,
    Labels,
    LastLookup,
    MerchantLookup,
    Method,
    MostFrequent,
    Txns,
    UserLookup,
)
from shared.features.extract import features_of
from shared.model.classifier import Model
from worker.training import fit as learner
from worker.training.open_labels import LabelSharing


class Ours:
    """The model of this service, from raw transactions: the features are made here too."""

    _model: Model

    def __init__(self, sharing: LabelSharing = learner.EVERYBODY) -> None:
        self._sharing = sharing

    def fit(self, txns: Txns, labels: Labels) -> None:
        rows = [features_of(txn) for txn in txns]
        self._model = learner.fit(rows, labels, seed=0, sharing=self._sharing)

    def answer(self, txns: Txns) -> Answers:
        found = self._model.predict_many([features_of(txn) for txn in txns])
        ranked = [(one.label, *(other.label for other in one.alternatives)) for one in found]
        confidence = np.array([one.confidence for one in found], dtype=np.float64)
        return Answers([labels[:TOP] for labels in ranked], confidence)


class Entry(NamedTuple):
    """A method as the tables have it."""

    name: str
    make: Callable[[], Method]
    probable: bool = True  # its confidence is meant as a probability


def _words() -> Method:
    return Linear(Text(CountVectorizer(ngram_range=(1, 3))), _svm())


def _characters() -> Method:
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
    return Linear(Text(vectorizer), _svm())


def _hashed_svm() -> Method:
    return Linear(Hashed(), _svm())


def _user_svm() -> Method:
    return Linear(HashedWithUsers(), _svm())


def _logistic() -> Method:
    # Of 1e-6 to 1e-4 what suits both clean and noisy labels, judged on rows before the cut day.
    sgd = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, tol=None, random_state=0)
    return Linear(Hashed(), sgd)


def _svm() -> LinearSVC:
    return LinearSVC(C=1.0, dual=True, random_state=0)


OURS = "ours"
METHODS = {
    OURS: Entry("ours", Ours),
    "frequent": Entry("most frequent", MostFrequent),
    "lookup": Entry("merchant lookup", MerchantLookup),
    "last": Entry("merchant lookup, last", LastLookup),
    "user-lookup": Entry("user and merchant lookup", UserLookup),
    "words": Entry("word 1-3 counts + linear SVM", _words, probable=False),
    "chars": Entry("char 2-5 TF-IDF + linear SVM", _characters, probable=False),
    "hashed-svm": Entry("hashed word+char linear SVM", _hashed_svm, probable=False),
    "user-svm": Entry("hashed linear SVM with users", _user_svm, probable=False),
    "hashed-logistic": Entry("hashed word+char logistic", _logistic),
    "lightgbm": Entry("LightGBM multiclass, guarded", Forest),
}


def fitted(key: str, txns: Txns, labels: Labels, *, few: bool = False) -> Method:
    """The method of that name, having learned; of one label only there is nothing to learn.

    *few* labels are those of a small installation, which shares them.
    """
    method = METHODS[key].make() if len(set(labels)) > 1 else MostFrequent()
    if few and isinstance(method, Ours):
        method = Ours(LabelSharing(users=1))
    method.fit(txns, labels)
    return method
