"""What a person at the terminal reads of a training run."""

from __future__ import annotations

from local.client import describe_training


def test_the_verdict_says_which_model_is_live_and_why():
    why = "reaches the threshold: macro-F1 0.930, threshold 0.720, best baseline 0.900"

    said = describe_training({"run_id": "a-run", "deployed": True, "deploy_reason": why})

    assert said == f"model a-run deployed: {why}"


def test_a_model_that_is_kept_out_is_not_called_deployed():
    said = describe_training({"run_id": "a-run", "deployed": False, "deploy_reason": "too weak"})

    assert said == "model a-run NOT deployed: too weak"


def test_a_run_that_found_nothing_new_says_so():
    assert describe_training({"skipped": True, "reason": "nothing is new"}) == "nothing is new"
