"""The manifest of a stored version: its files with their hashes, and how it was trained."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

_SUMMARY = ("val_f1_macro", "val_accuracy", "class_count", "baselines", "gate")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a version: its size in bytes and its hash."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is stored beside the files of a version.

    Attributes:
        created_at: ISO 8601, UTC.
        files: by name.
        meta: `TrainReport.to_meta`, the evaluation report, and where the data came from. A version
            of an older release may have less.
    """

    run_id: str
    created_at: str
    files: Mapping[str, StoredFile]
    meta: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    @property
    def trained_through(self) -> dt.datetime:
        """The time of the newest label in the training set. KeyError without one."""
        return dt.datetime.fromisoformat(self.meta["trained_through"])

    @property
    def read_at(self) -> dt.datetime:
        """The time at which the run read its labels."""
        return dt.datetime.fromisoformat(self.meta.get("read_at", self.created_at))

    @property
    def evaluation(self) -> Mapping[str, Any] | None:
        """The `EvaluationReport`, as JSON."""
        return self.meta.get("report")

    @property
    def summary(self) -> dict[str, Any]:
        """The scores for a list of versions; None where one is not stored."""
        return {name: self.meta.get(name) for name in _SUMMARY}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave. KeyError, TypeError or AttributeError if it is no manifest."""
        files = {name: StoredFile(**file) for name, file in plain["files"].items()}
        return cls(plain["run_id"], plain["created_at"], files, plain["meta"])
