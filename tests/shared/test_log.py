"""A log line tells what happened, and nothing of what a transaction says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def logged(code: str) -> list[dict[str, Any]]:
    """What a process of the service writes to standard error while it runs this code."""
    start = "import logging, structlog; from shared import log as logs; logs.configure('info')\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_log_line_has_the_request_and_job_id():
    """So that all lines of one request or job can be found."""
    (line,) = logged(
        "structlog.contextvars.bind_contextvars(request_id='r1', job_id='j1')\n"
        "logs.get_logger().info('train.finished', run_id='v1')"
    )

    assert (line["event"], line["request_id"], line["job_id"]) == ("train.finished", "r1", "j1")
    assert (line["level"], line["run_id"]) == ("info", "v1")
    assert line["at"].endswith("Z")


def test_exception_is_logged_by_type_and_place_without_its_message():
    """Messages of drivers and parsers quote the data."""
    (line,) = logged(
        "try:\n"
        "    try:\n"
        "        raise KeyError('DR SMITH ONCOLOGY')\n"
        "    except KeyError as error:\n"
        "        raise ValueError('amount -123.45') from error\n"
        "except ValueError:\n"
        "    logs.get_logger().exception('job.broke')"
    )

    assert line["exception"] == ["builtins.ValueError", "builtins.KeyError"]
    assert line["frames"] == ["<string>:6:<module>"]
    assert "SMITH" not in json.dumps(line)
    assert "123.45" not in json.dumps(line)


def test_lines_of_other_libraries_have_the_same_form():
    """One format for whoever reads the logs."""
    (line,) = logged("logging.getLogger('celery.worker').warning('cannot connect')")

    assert (line["logger"], line["level"]) == ("celery.worker", "warning")
    assert line["event"] == "cannot connect"


def test_log_line_is_written_for_any_values():
    """A log that breaks a request is worse than none."""
    (line,) = logged(
        "logs.get_logger().info('odd', half='\\udcfc', path=__import__('pathlib').Path('x'))"
    )

    assert line["half"] == "\udcfc"
    assert line["event"] == "odd"
