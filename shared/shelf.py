"""What one process has read last, for all that share its folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import Metric

AHEAD_S = 5.0  # later than now: the clock was set back, and the file would count for ever


class Snapshot(NamedTuple):
    """Metrics as they were at one moment (Unix time)."""

    at: float
    families: Sequence[Metric]


class Shelf:
    """Keeps the newest of the snapshots that any process puts there, in a file of its own name.

    No file is ever written over, so an older one cannot take the place of a newer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, snapshot: Snapshot) -> None:
        """Put one there, and take the older ones away; a full disk keeps the old ones."""
        told = [
            [
                family.name,
                family.documentation,
                family.type,
                [[sample.name, sample.labels, sample.value] for sample in family.samples],
            ]
            for family in snapshot.families
        ]
        draft = self._folder / f".facts-{secrets.token_hex(8)}"
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(told))
            draft.rename(self._folder / f"facts-{snapshot.at:020.6f}")
            for name in self._names()[1:]:
                (self._folder / name).unlink(missing_ok=True)

    def newest(self) -> Snapshot | None:
        """The newest there is; None before the first."""
        for name in self._names():
            with contextlib.suppress(FileNotFoundError):  # a newer one came
                told = json.loads((self._folder / name).read_text())
                return Snapshot(_at(name), [_family(*family) for family in told])
        return None

    def _names(self) -> list[str]:
        """The newest first."""
        found = [name for name in os.listdir(self._folder) if name.startswith("facts-")]
        latest = time.time() + AHEAD_S
        return sorted((name for name in found if _at(name) <= latest), reverse=True)


def _at(name: str) -> float:
    return float(name.removeprefix("facts-"))


def _family(name: str, about: str, kind: str, samples: Sequence[Sequence[object]]) -> Metric:
    family = Metric(name, about, kind)
    for sample in samples:
        family.add_sample(*sample)  # type: ignore[arg-type]
    return family
