"""What a person at the terminal reads of a training run."""

from __future__ import annotations

from local.client import describe_training


def test_summary_names_the_live_model_and_the_reason():
    why = "reaches the threshold: macro-F1 0.930, threshold 0.720, best baseline 0.900"

    output = describe_training({"run_id": "a-run", "deployed": True, "deploy_reason": why})

    assert output == f"model a-run deployed: {why}"


def test_summary_of_a_refused_model_does_not_say_deployed():
    output = describe_training({"run_id": "a-run", "deployed": False, "deploy_reason": "too weak"})

    assert output == "model a-run NOT deployed: too weak"


def test_summary_of_a_skipped_run_says_that_nothing_was_new():
    assert describe_training({"skipped": True, "reason": "nothing is new"}) == "nothing is new"
