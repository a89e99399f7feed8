"""The trained model: candidate generator, LightGBM reranker, calibration and thresholds.

A model is fitted in worker/training/fit.py, never changes, and may be shared by any number of
threads. A row gets the same prediction alone and among many.
"""

from __future__ import annotations

import copy
import io
import json
import os
import zipfile
import zlib
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import chain, compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.errors import DamagedVersion
from shared.features.encoder import WIDTH
from shared.features.extract import FEATURE_VERSION, FeatureRow
from shared.model.calibration import PROBABILITY_EPS, Calibration
from shared.model.candidates import (
    NO_LABEL,
    PAIR_FEATURES,
    CandidateGenerator,
    Candidates,
    EncodedRows,
    encode_rows,
)
from shared.model.label_history import NO_KEY, USER
from shared.model.reranker import Reranker
from shared.model.spellings import Spellings, fold_label
from shared.model.thresholds import Thresholds

SCHEMA = 4  # raise it when the files change their form or the pair features their meaning
ALTERNATIVES = 3
CHUNK = 1024  # rows predicted at once
# Threads of a long prediction: LightGBM and NumPy release the GIL; more would wait for it.
THREADS = min(4, os.cpu_count() or 1)

_BOOSTER, _META, _ARRAYS = "model.txt", "model.json", "arrays.npz"
_UNREADABLE = (KeyError, ValueError, TypeError, EOFError, zlib.error, zipfile.BadZipFile)

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.integer]


class LabelScore(NamedTuple):
    """A label and how likely it is."""

    label: str
    confidence: float


class Prediction(NamedTuple):
    """The likeliest label and up to ALTERNATIVES others; their confidences sum to at most 1.

    The label is "" where there is none that this user may be told.
    """

    label: str
    confidence: float  # calibrated, 0..1
    alternatives: tuple[LabelScore, ...]


NO_PREDICTION = Prediction("", PROBABILITY_EPS, ())


class Ranking(NamedTuple):
    """The candidates of n rows as the model scores them; M of each row."""

    candidates: Candidates
    log_odds: NDArray[np.float64] | None  # (n, M) of the reranker; None without one
    shares: list[list[float]]  # (n, M), summing to one in each row


@dataclass(frozen=True)
class Model:
    """A candidate generator, a LightGBM reranker (none for small training sets) and calibration.

    Attributes:
        labels: the K labels as most users spell them, in the order of the generator.
        booster_text: the reranker as LightGBM writes it, or "".
        hash_key: the key of the label history's hashes.
        metadata: how the model was made; stored and not otherwise used.
        thresholds: the confidence that each layer needs.
        max_abs_error: of the kernel's log-odds, see Reranker; None where it was not measured.
        spellings: of users who spell a label otherwise.
        unknown_users: ids that are treated as no user, since they were deleted after the training;
            not stored.
        native_agrees: whether the kernel and the reference generated the same candidates when the
            model was made; None where that was not checked. Only if so is the kernel used.
    """

    labels: tuple[str, ...]
    generator: CandidateGenerator
    booster_text: str
    calibration: Calibration
    hash_key: bytes
    metadata: Mapping[str, Any]
    thresholds: Thresholds = field(default_factory=Thresholds)
    max_abs_error: float | None = None
    native_agrees: bool | None = None
    spellings: Spellings = field(default_factory=Spellings)
    unknown_users: Container[str] = ()

    @cached_property
    def reranker(self) -> Reranker | None:
        """The reranker, parsed from its text; None without one."""
        return Reranker(self.booster_text, self.max_abs_error) if self.booster_text else None

    def without_users(self, user_ids: Container[str]) -> Model:
        """The same model, all of it shared, which does not know these users."""
        other = copy.copy(self)
        object.__setattr__(other, "unknown_users", user_ids)
        return other

    def encode(self, rows: Sequence[FeatureRow]) -> EncodedRows:
        """The rows as arrays; those of unknown users have neither user nor account."""
        if self.unknown_users:
            rows = [
                row._replace(user_id="", account="") if row.user_id in self.unknown_users else row
                for row in rows
            ]
        return encode_rows(rows, self.hash_key)

    def predict(self, row: FeatureRow) -> Prediction:
        """Predict the label of *row*."""
        return self._predict([row])[0]

    def predict_many(self, rows: Sequence[FeatureRow]) -> list[Prediction]:
        """Predict each row, just as `predict` does; more than CHUNK rows on THREADS threads."""
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        if len(chunks) < 2:
            return self._predict(rows) if rows else []
        with ThreadPoolExecutor(min(len(chunks), THREADS)) as pool:
            return [*chain.from_iterable(pool.map(self._predict, chunks))]

    def rank(self, inputs: EncodedRows) -> Ranking:
        """Generate the candidates of each row, rerank them, and weigh both scores."""
        candidates = self.generator.generate(inputs)
        log_odds = self.log_odds(candidates)
        return Ranking(candidates, log_odds, self.calibration.shares(candidates, log_odds))

    def log_odds(self, candidates: Candidates) -> NDArray[np.float64] | None:
        """The reranker's log-odds of each candidate, shape (n, M); None without a reranker."""
        return self.reranker.log_odds(candidates.features) if self.reranker else None

    @cached_property
    def open_labels(self) -> tuple[str, ...]:
        """The labels that every user may be told."""
        return tuple(compress(self.labels, self.generator.is_open.tolist()))

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {fold_label(label): index for index, label in enumerate(self.labels)}

    def index_of(self, label: str) -> int:
        """The index of a label in whatever spelling; KeyError if there is none."""
        return self._indices[fold_label(label)]

    def linear_contributions(
        self, columns: IntArray, entries: FloatArray, labels: IntArray | Sequence[int]
    ) -> NDArray[np.float64]:
        """What *entries* in these columns add to the linear score of each label: (columns, labels).

        *entries* are as Encoder.values gives them, shape (columns,). The linear model says nothing
        of a label that has no column there: all zeros.
        """
        weights, of = self.generator.weights, np.asarray(labels)
        has_column = (of >= 0) & (of < self.generator.column_count)
        of_labels = weights.values[columns[:, None], 0, np.where(has_column, of, 0)]
        of_labels = np.where(has_column, of_labels * weights.scale[columns, 0], 0)
        added: NDArray[np.float64] = entries[:, None].astype(np.float64) * of_labels
        return added

    def answers(self, inputs: EncodedRows, ranking: Ranking) -> list[Prediction]:
        """The prediction for each row, given its ranking."""
        labels, users = ranking.candidates.labels.tolist(), inputs.rows["keys"][:, USER].tolist()
        if ranking.log_odds is None:
            odds = [[0.0] * len(row) for row in labels]
        else:
            odds = ranking.log_odds.tolist()
        return list(map(self._answer, users, labels, ranking.shares, odds))

    def name(self, label: int, user: int) -> str:
        """How a user, given by their key, spells a label; all others as most do."""
        if not self.spellings.size or user == NO_KEY:
            return self.labels[label]
        return self.spellings.spelled(label, user) or self.labels[label]

    def _predict(self, rows: Sequence[FeatureRow]) -> list[Prediction]:
        inputs = self.encode(rows)
        return self.answers(inputs, self.rank(inputs))

    def _answer(
        self, user: int, labels: list[int], shares: list[float], odds: list[float]
    ) -> Prediction:
        first, *rest = sorted(range(len(shares)), key=shares.__getitem__, reverse=True)
        if labels[first] == NO_LABEL:
            return NO_PREDICTION
        confidence = self.calibration.confidence(shares[first], odds[first])
        # The others share what the best leaves, in their proportion.
        scale = (1 - confidence) * self.calibration.candidate_recall / max(1 - shares[first], 1e-12)
        return Prediction(
            self.name(labels[first], user),
            confidence,
            tuple(
                LabelScore(self.name(labels[other], user), min(shares[other] * scale, confidence))
                for other in rest[:ALTERNATIVES]
                if labels[other] != NO_LABEL
            ),
        )

    def to_files(self) -> dict[str, bytes]:
        """The model as files: model.json, arrays.npz and, with a reranker, model.txt."""
        meta = {
            **_format(),
            "libraries": {"lightgbm": version("lightgbm"), "numpy": np.__version__},
            "labels": self.labels,
            "spellings": self.spellings.names,
            "calibration": self.calibration.as_json(),
            "hash_key": self.hash_key.hex(),
            "facts": dict(self.metadata),
            "bars": self.thresholds.as_json(),
            "agreement": self.max_abs_error,
            "proposals_agree": self.native_agrees,
        }
        files = {
            _META: json.dumps(meta, ensure_ascii=False, indent=1, sort_keys=True).encode(),
            _ARRAYS: _pack({**self.generator.arrays(), **self.spellings.arrays()}),
        }
        if self.booster_text:
            files[_BOOSTER] = self.booster_text.encode()
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Model:
        """The model that `to_files` wrote, ready to predict.

        Pass only files whose hash was checked: LightGBM's parser may end the process on others.

        Raises:
            DamagedVersion: a file is missing, or was written by code of another schema.
        """
        try:
            meta = json.loads(files[_META])
            for name, value in _format().items():
                if meta.get(name) != value:
                    raise DamagedVersion(
                        f"The model was made by other code (its {name} does not match): train again"
                    )
            with np.load(io.BytesIO(files[_ARRAYS]), allow_pickle=False) as archive:
                arrays = dict(archive)
            labels = tuple(meta["labels"])
            calibration = Calibration.from_json(meta["calibration"])
            native_agrees = meta.get("proposals_agree")  # older versions lack it and the next
            model = cls(
                labels,
                CandidateGenerator.from_arrays(len(labels), arrays, use_native=bool(native_agrees)),
                files[_BOOSTER].decode() if calibration.reranker else "",
                calibration,
                bytes.fromhex(meta["hash_key"]),
                meta["facts"],
                Thresholds.from_json(meta["bars"]),
                meta.get("agreement"),
                native_agrees,
                Spellings.from_arrays(meta["spellings"], arrays),
            )
        except _UNREADABLE as error:
            raise DamagedVersion(f"The model's files cannot be read: {error}") from error
        model.reranker  # noqa: B018  parsed now, not in the first request
        return model


def _format() -> dict[str, Any]:
    """What the code that reads a model must have in common with the code that wrote it."""
    return {
        "schema": SCHEMA,
        "feature_version": FEATURE_VERSION,
        "width": WIDTH,
        "pair_features": list(PAIR_FEATURES),
    }


def _pack(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """An archive for np.load. Unlike np.savez_compressed, it is fast."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in sorted(arrays.items()):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return packed.getvalue()
