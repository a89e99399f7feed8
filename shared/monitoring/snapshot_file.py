"""The newest metrics snapshot, shared between processes through a file."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import Metric

AHEAD_S = 5.0  # a file from the future (the clock was set back) would stay the newest for ever


class Snapshot(NamedTuple):
    """Metrics as they were at one moment (Unix time)."""

    at: float
    families: Sequence[Metric]


class SnapshotFile:
    """The newest snapshot that any process of *folder* has stored.

    Files are named by time and never written over, so an older one cannot replace a newer.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def write(self, snapshot: Snapshot) -> None:
        """Store a snapshot and remove older ones; with a full disk the old ones stay."""
        families = [
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
            draft.write_text(json.dumps(families))
            draft.rename(self._folder / f"facts-{snapshot.at:020.6f}")
            for name in self._names()[1:]:
                (self._folder / name).unlink(missing_ok=True)

    def read(self) -> Snapshot | None:
        """Return the newest snapshot; None before the first."""
        for name in self._names():
            with contextlib.suppress(FileNotFoundError):  # a newer one replaced it
                families = json.loads((self._folder / name).read_text())
                return Snapshot(_at(name), [_family(*family) for family in families])
        return None

    def _names(self) -> list[str]:
        """File names, the newest first."""
        found = [name for name in os.listdir(self._folder) if name.startswith("facts-")]
        latest = self._clock() + AHEAD_S
        return sorted((name for name in found if _at(name) <= latest), reverse=True)


def _at(name: str) -> float:
    return float(name.removeprefix("facts-"))


def _family(name: str, about: str, kind: str, samples: Sequence[Sequence[object]]) -> Metric:
    family = Metric(name, about, kind)
    for sample in samples:
        family.add_sample(*sample)  # type: ignore[arg-type]
    return family
