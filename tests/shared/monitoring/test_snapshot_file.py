"""The snapshot file: processes of a folder share the newest metrics."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.core import GaugeMetricFamily

from shared.monitoring.snapshot_file import AHEAD_S, EMPTY, Snapshot, SnapshotFile

NOW = 1_790_000_000.0


def snapshot(at: float, value: float) -> Snapshot:
    family = GaugeMetricFamily("jobs", "Jobs by state", labels=["state"])
    family.add_metric(["queued"], value)
    return Snapshot(at, [family])


def value(found: Snapshot) -> float:
    (family,) = found.families
    (sample,) = family.samples
    assert (sample.name, sample.labels) == ("jobs", {"state": "queued"})
    return float(sample.value)


def test_newest_snapshot_is_read_whoever_wrote_it_last(tmp_path: Path) -> None:
    one, other = (SnapshotFile(tmp_path, lambda: NOW) for _ in range(2))
    one.write(snapshot(NOW, 2))
    other.write(snapshot(NOW - 10, 1))

    assert (one.read().at, value(one.read())) == (NOW, 2)
    assert value(other.read()) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_empty_folder_has_the_empty_snapshot(tmp_path: Path) -> None:
    assert SnapshotFile(tmp_path, lambda: NOW).read() == EMPTY


def test_snapshot_from_the_future_is_ignored(tmp_path: Path) -> None:
    """The clock was set back since; it would stay the newest for ever."""
    ahead = SnapshotFile(tmp_path, lambda: NOW + 3_600)
    ahead.write(snapshot(NOW + 3_600, 5))
    file = SnapshotFile(tmp_path, lambda: NOW)
    file.write(snapshot(NOW, 1))

    assert value(file.read()) == 1
    assert AHEAD_S < 3_600


def test_folder_that_cannot_be_written_loses_the_snapshot_and_raises_nothing(
    tmp_path: Path,
) -> None:
    file = SnapshotFile(tmp_path / "missing", lambda: NOW)

    file.write(snapshot(NOW, 1))

    assert file.read() == EMPTY
