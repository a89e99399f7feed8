"""The result of a training run survives its way as JSON: from the trainer to the job and back."""

from __future__ import annotations

import json

import pytest

from shared.registry.train_report import (
    GateDecision,
    SkippedRun,
    TrainReport,
    is_deployed,
    is_skipped,
    result_from_json,
)

SCORES = {"accuracy": 0.9, "f1_macro": 0.8}
REPORT = TrainReport(
    run_id="20260101T000000Z-00000000",
    val_f1_macro=0.8,
    val_accuracy=0.9,
    class_count=3,
    train_size=80,
    calibrate_size=40,
    val_size=20,
    baselines={"merchant_lookup": SCORES, "best": {"name": "merchant_lookup", **SCORES}},
    ceiling={"rows": 20, **SCORES, "low": SCORES, "high": SCORES},
    coverage_at_95=None,
    gate=GateDecision(True, "reaches the threshold"),
    warnings=[],
    live_sequence=2,
)


@pytest.mark.parametrize("result", [REPORT, SkippedRun("nothing new")], ids=["report", "skipped"])
def test_report_is_read_back_from_its_json(result):
    assert result_from_json(json.loads(json.dumps(result.to_json()))) == result


def test_the_result_has_the_fields_that_the_contract_names():
    """What train_job adds as the job ends: elapsed_seconds, deployed and deploy_reason."""
    named = {"run_id", "val_f1_macro", "val_accuracy", "class_count", "train_size", "val_size"}

    assert named | {"baselines"} <= REPORT.to_json().keys()


def test_stored_report_has_no_field_that_depends_on_deployments():
    assert REPORT.to_json().keys() - REPORT.to_meta().keys() == {"run_id", "live_sequence"}


def test_invalid_report_is_refused():
    with pytest.raises(KeyError):
        result_from_json({"run_id": "20260101T000000Z-00000000"})


@pytest.mark.parametrize(
    ("stored", "deployed", "skipped"),
    [
        (None, False, False),
        ({"deployed": True}, True, False),
        ({"deployed": False}, False, False),
        ({"skipped": True, "reason": "nothing new"}, False, True),
    ],
    ids=["none", "deployed", "kept", "skipped"],
)
def test_the_outcome_is_read_from_a_job_of_any_release(stored, deployed, skipped):
    assert (is_deployed(stored), is_skipped(stored)) == (deployed, skipped)
