"""The newest metrics snapshot, shared between processes through a file."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import Metric, Sample

PREFIX = "facts-"
AHEAD_S = 5.0  # a file from the future (the clock was set back) would stay the newest for ever


class Snapshot(NamedTuple):
    """Metrics as they were at one time (Unix time)."""

    at: float
    families: Sequence[Metric]


EMPTY = Snapshot(0.0, ())


class SnapshotFile:
    """The newest snapshot in *folder*, written by any process.

    Files are named by time and never overwritten, so an older one cannot replace a newer one.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot and remove older ones; if the disk is full, those stay."""
        families = [
            (family.name, family.documentation, family.type, [row[:3] for row in family.samples])
            for family in snapshot.families
        ]
        draft = self._folder / f".{PREFIX}{secrets.token_hex(8)}"
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(families))
            draft.rename(self._folder / f"{PREFIX}{snapshot.at:020.6f}")
            for file in self._files()[1:]:
                file.unlink(missing_ok=True)

    def read(self) -> Snapshot:
        """Return the newest snapshot, or `EMPTY`."""
        for file in self._files():
            with contextlib.suppress(FileNotFoundError):  # a newer one has replaced it
                return Snapshot(_time(file), [_family(*f) for f in json.loads(file.read_text())])
        return EMPTY

    def _files(self) -> list[Path]:
        """Return the files, the newest first."""
        latest = self._clock() + AHEAD_S
        files = [file for file in self._folder.glob(f"{PREFIX}*") if _time(file) <= latest]
        return sorted(files, reverse=True)


def _time(file: Path) -> float:
    return float(file.name.removeprefix(PREFIX))


def _family(
    name: str, about: str, kind: str, samples: Sequence[tuple[str, dict[str, str], float]]
) -> Metric:
    family = Metric(name, about, kind)
    family.samples = [Sample(*sample) for sample in samples]
    return family
