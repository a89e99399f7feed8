"""The trained model: candidate generation, a LightGBM reranker, calibration.

Nothing is learned here; see worker/training/fit.py. A model never changes and may be shared by any
number of threads. One row gets the same prediction alone and among many.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.errors import DamagedVersion
from shared.features.encoder import WIDTH
from shared.features.extract import FEATURE_VERSION, FeatureRow
from shared.model.candidates import (
    PAIR_FEATURES,
    CandidateGenerator,
    Candidates,
    EncodedRows,
    encode_rows,
)
from shared.model.reranker import Reranker
from shared.model.thresholds import Thresholds

SCHEMA = 3  # raise it when the files change their form or the pair features their meaning
ALTERNATIVES = 3
CHUNK = 1024  # rows predicted at once
# Of a long prediction: LightGBM and numpy let go of the GIL; with more, they would wait for it.
THREADS = min(4, os.cpu_count() or 1)
PROBABILITY_EPS = 1e-3  # no confidence is nearer to 0 or 1

_BOOSTER, _META, _ARRAYS = "model.txt", "model.json", "arrays.npz"
_UNREADABLE = (KeyError, ValueError, TypeError, EOFError, zlib.error, zipfile.BadZipFile)
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the date of every file in the archive: same model, same bytes

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.integer]


class LabelScore(NamedTuple):
    """A label and how likely it is."""

    label: str
    confidence: float


class Prediction(NamedTuple):
    """The likeliest label and up to ALTERNATIVES others; their confidences sum to at most 1."""

    label: str
    confidence: float  # calibrated, 0..1
    alternatives: tuple[LabelScore, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """From scores to probabilities: a softmax of two scores, then a monotone correction.

    Attributes:
        reranker: weight of the forest's log-odds; 0 where the forest is not used.
        linear: weight of the linear score.
        covered: how often the truth is among the candidates, 0..1.
        beta: a, b and c of the correction of the best share s, none of a and b below 0: the
            log-odds of being right are a log(s) - b log(1 - s) + c. (1, 1, 0) changes nothing.

    Source: Kull, Silva Filho, Flach, "Beta calibration", AISTATS 2017.
    """

    reranker: float
    linear: float
    covered: float = 1.0
    beta: tuple[float, float, float] = (1.0, 1.0, 0.0)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Calibration:
        """What asdict made of one, after a trip through JSON."""
        return cls(**{**plain, "beta": tuple(plain["beta"])})

    def shares(self, proposal: Candidates, odds: NDArray[np.float64] | None) -> list[list[float]]:
        """Each candidate's share of one, (n, M), from *odds* of that shape, and the base.

        By numbers rather than arrays: of one row, arrays would take four times as long.
        """
        linear = proposal.linear.tolist()
        if odds is None:
            return [_softmax([self.linear * base for base in row]) for row in linear]
        return [
            _softmax([self.linear * a + self.reranker * b for a, b in zip(*row, strict=True)])
            for row in zip(linear, odds.tolist(), strict=True)
        ]

    def confidence(self, share: float) -> float:
        """The probability that the best candidate is right, given its share."""
        a, b, c = self.beta
        share = _within(share)
        return _within(1 / (1 + math.exp(-(a * math.log(share) - b * math.log1p(-share) + c))))


class Ranking(NamedTuple):
    """The candidates of n rows as the model scores them; M of each row."""

    candidates: Candidates
    log_odds: NDArray[np.float64] | None  # (n, M) of the reranker; None without one
    shares: list[list[float]]  # (n, M), summing to one in each row


@dataclass(frozen=True)
class Model:
    """A candidate generator, a LightGBM reranker (none for small training sets) and calibration.

    Attributes:
        labels: the K labels, in the order of the base's columns.
        booster_text: the forest as LightGBM writes it, or "".
        hash_key: the key of the history's hashes.
        facts: how it was made; written to the files and not otherwise used.
        bars: how sure a suggestion must be, see there.
        agreement: the largest difference of the kernel's log-odds from LightGBM's, measured at
            training; None where it was not. Above a bound LightGBM answers; see Forest.
        proposals_agree: whether the kernel and the reference proposed the same for the newest rows
            at training; None where that was not tried. Only if so does the kernel propose.
    """

    labels: tuple[str, ...]
    generator: CandidateGenerator
    booster_text: str
    calibration: Calibration
    hash_key: bytes
    metadata: Mapping[str, Any]
    thresholds: Thresholds = field(default_factory=Thresholds)
    agreement: float | None = None
    proposals_agree: bool | None = None

    @cached_property
    def reranker(self) -> Reranker | None:
        """What judges, parsed from the text even of a model fresh from training."""
        return Reranker(self.booster_text, self.agreement) if self.booster_text else None

    def predict(self, row: FeatureRow) -> Prediction:
        """What *row* is."""
        return self._predict([row])[0]

    def predict_many(self, rows: Sequence[FeatureRow]) -> list[Prediction]:
        """What each row is, just as `predict` says it; more than CHUNK rows on THREADS threads."""
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        if len(chunks) < 2:
            return self._predict(rows) if rows else []
        with ThreadPoolExecutor(min(len(chunks), THREADS)) as pool:
            return [*chain.from_iterable(pool.map(self._predict, chunks))]

    def to_files(self) -> dict[str, bytes]:
        """The model as files: model.json, arrays.npz and, if it has a forest, model.txt."""
        meta = {
            "schema": SCHEMA,
            "feature_version": FEATURE_VERSION,
            "width": WIDTH,
            "pair_features": list(PAIR_FEATURES),
            "libraries": {"lightgbm": version("lightgbm"), "numpy": np.__version__},
            "labels": list(self.labels),
            "calibration": asdict(self.calibration),
            "hash_key": self.hash_key.hex(),
            "facts": dict(self.metadata),
            "bars": self.thresholds.as_json(),
            "agreement": self.agreement,
            "proposals_agree": self.proposals_agree,
        }
        files = {
            _META: json.dumps(meta, ensure_ascii=False, indent=1, sort_keys=True).encode(),
            _ARRAYS: _pack(self.generator.arrays()),
        }
        if self.booster_text:
            files[_BOOSTER] = self.booster_text.encode()
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Model:
        """The model that `to_files` wrote, ready to predict.

        Pass only bytes whose hash is known to be right: LightGBM's parser may end the process on
        others.

        Raises:
            DamagedVersion: a file is missing, or was written by code of another schema.
        """
        try:
            meta = json.loads(files[_META])
            _check(meta)
            labels = tuple(meta["labels"])
            with np.load(io.BytesIO(files[_ARRAYS]), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive}
            calibration = Calibration.from_json(meta["calibration"])
            text = files[_BOOSTER].decode() if calibration.reranker else ""
            hash_key = bytes.fromhex(meta["hash_key"])
            bars = Thresholds.from_json(meta["bars"])
            agreement = meta.get("agreement")  # of a version by older code, None: not measured
            agree = meta.get("proposals_agree")
            base = CandidateGenerator.from_arrays(len(labels), arrays, use_native=agree is True)
        except _UNREADABLE as error:
            raise DamagedVersion(f"The model's files cannot be read: {error}") from error
        facts = meta["facts"]
        model = cls(labels, base, text, calibration, hash_key, facts, bars, agreement, agree)
        model.reranker  # noqa: B018  parsed now, not in the first request
        return model

    def rank(self, inputs: EncodedRows) -> Ranking:
        """Generate the candidates of each row, rerank them, and weigh both scores."""
        candidates = self.generator.generate(inputs)
        log_odds = self.log_odds(candidates)
        return Ranking(candidates, log_odds, self.calibration.shares(candidates, log_odds))

    def linear_contributions(
        self, columns: IntArray, entries: FloatArray, labels: IntArray | Sequence[int]
    ) -> NDArray[np.float64]:
        """What *entries* in these columns add to the linear score of each label: (columns, labels).

        *entries* are as Encoder.values gives them, shape (columns,).
        """
        weights = self.generator.weights
        of_labels = weights.values[columns[:, None], 0, labels] * weights.scale[columns, 0]
        added: NDArray[np.float64] = entries[:, None].astype(np.float64) * of_labels
        return added

    def _predict(self, rows: Sequence[FeatureRow]) -> list[Prediction]:
        ranking = self.rank(encode_rows(rows, self.hash_key))
        return self.answers(ranking.candidates, ranking.shares)

    def answers(self, proposal: Candidates, shares: list[list[float]]) -> list[Prediction]:
        """What each row is, given its candidates' shares of one, (n, M)."""
        return list(map(self._answer, proposal.labels.tolist(), shares))

    def _answer(self, labels: list[int], shares: list[float]) -> Prediction:
        first, *rest = sorted(range(len(shares)), key=shares.__getitem__, reverse=True)
        sure = self.calibration.confidence(shares[first])
        # What the best does not take is left to the others, in their proportion.
        left = (1 - sure) * self.calibration.covered / max(1 - shares[first], 1e-12)
        return Prediction(
            self.labels[labels[first]],
            sure,
            tuple(
                LabelScore(self.labels[labels[other]], min(shares[other] * left, sure))
                for other in rest[:ALTERNATIVES]
            ),
        )

    def log_odds(self, proposal: Candidates) -> NDArray[np.float64] | None:
        """The forest's log-odds of each candidate, shape (n, M); None without a forest."""
        if self.reranker is None:
            return None
        return self.reranker.log_odds(proposal.features)


def _softmax(scores: list[float]) -> list[float]:
    most = max(scores)
    odds = [math.exp(score - most) for score in scores]
    total = sum(odds)
    return [it / total for it in odds]


def _within(share: float) -> float:
    """No nearer to 0 or 1 than UNSURE."""
    return min(max(share, PROBABILITY_EPS), 1 - PROBABILITY_EPS)


def _check(meta: Mapping[str, Any]) -> None:
    expected = {
        "schema": SCHEMA,
        "feature_version": FEATURE_VERSION,
        "width": WIDTH,
        "pair_features": list(PAIR_FEATURES),
    }
    for name, value in expected.items():
        if meta.get(name) != value:
            raise DamagedVersion(f"The model was made by other code: its {name} does not match")


def _pack(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """What np.load reads, as np.savez_compressed writes it but without the time of day."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in sorted(arrays.items()):
            plain = io.BytesIO()
            np.lib.format.write_array(plain, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", _LONG_AGO),
                plain.getvalue(),
                compress_type=zipfile.ZIP_DEFLATED,
                compresslevel=1,
            )
    return packed.getvalue()
