"""The manifest reads what this and earlier releases have stored."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from shared.registry.manifest import Manifest

# As the first release wrote it, without most of its report.
STORED = """{
 "created_at": "2026-12-01T00:11:01.123456+00:00",
 "files": {"model.json": {"sha256": "ab", "size": 3}, "arrays.npz": {"sha256": "cd", "size": 4}},
 "meta": {
  "baselines": {"best": {"accuracy": 0.99, "f1_macro": 0.98, "name": "merchant_lookup"}},
  "calibrate_size": 343, "ceiling": {"rows": 323, "accuracy": 1.0, "f1_macro": 1.0},
  "class_count": 98, "coverage_at_95": {"confidence": 0.4, "precision": 0.95, "share": 1.0},
  "data_fingerprint": "4:all:2000:17", "gate": {"passed": true, "reason": "reaches the threshold"},
  "job_id": "b", "read_at": "2026-12-01T00:10:46.641463+00:00",
  "report": {"accuracy": 0.99, "leans_on": {"features": [], "groups": []}, "rows": 400},
  "train_size": 1600, "trained_through": "2026-12-01T00:10:46.230711+00:00",
  "val_accuracy": 0.99, "val_f1_macro": 0.98, "val_size": 400, "warnings": []
 },
 "run_id": "20261201T001101Z-13db8141"
}"""


def test_manifest_of_an_earlier_release_is_read_whole():
    plain = json.loads(STORED)

    manifest = Manifest.from_json(plain)

    assert manifest.to_json() == plain
    assert manifest.size == 7
    assert manifest.trained_through == dt.datetime(2026, 12, 1, 0, 10, 46, 230711, dt.UTC)
    assert manifest.read_at > manifest.trained_through
    assert manifest.evaluation == plain["meta"]["report"]
    assert manifest.summary["gate"] == {"passed": True, "reason": "reaches the threshold"}
    assert (manifest.summary["class_count"], manifest.summary["val_f1_macro"]) == (98, 0.98)


def test_manifest_without_a_time_of_reading_counts_from_its_creation():
    plain = json.loads(STORED)
    del plain["meta"]["read_at"]

    assert Manifest.from_json(plain).read_at.isoformat() == plain["created_at"]


@pytest.mark.parametrize("plain", [{}, {"run_id": "r", "created_at": "", "files": 3, "meta": {}}])
def test_invalid_manifest_is_refused(plain):
    with pytest.raises((KeyError, TypeError, AttributeError)):
        Manifest.from_json(plain)
