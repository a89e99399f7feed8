"""A log line tells what happened, and nothing of what a transaction says."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from shared import log as logs


@pytest.fixture
def lines(capsys):
    """The log of the test so far, as JSON."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    logs.configure("info")
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_line_carries_the_ids_it_belongs_to(lines):
    """So that all lines of one request or job can be found."""
    with structlog.contextvars.bound_contextvars(request_id="r1", job_id="j1"):
        structlog.get_logger().info("train.finished", run_id="v1")

    (line,) = lines()
    assert (line["event"], line["request_id"], line["job_id"]) == ("train.finished", "r1", "j1")
    assert line["level"] == "info"
    assert line["at"].endswith("Z")


def test_an_exception_is_told_by_type_and_place_without_its_text(lines):
    """Messages of drivers and parsers quote the data."""
    try:
        try:
            raise KeyError("DR SMITH ONCOLOGY")
        except KeyError as error:
            raise ValueError("amount -123.45 of JANE DOE") from error
    except ValueError:
        structlog.get_logger().exception("job.broke")

    (line,) = lines()
    assert line["exception"] == ["builtins.ValueError", "builtins.KeyError"]
    assert any("test_log.py" in frame for frame in line["frames"])
    assert "SMITH" not in json.dumps(line)
    assert "123.45" not in json.dumps(line)


def test_lines_of_other_libraries_have_the_same_form(lines):
    """One format for whoever reads the logs."""
    logging.getLogger("celery.worker").warning("consumer: cannot connect")

    (line,) = lines()
    assert line["logger"] == "celery.worker"
    assert line["level"] == "warning"
