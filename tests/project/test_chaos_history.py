"""What the scenes of tests/chaos hold a run against can fail, and each run writes its own part."""

from __future__ import annotations

import pytest

from tests.chaos import history, report

SUCCEEDED = {"state": "succeeded", "attempt": 1, "error": None}
LOST = {"state": "failed", "attempt": 3, "error": {"code": "worker_lost"}}


def violations_of(job, ends, *, meant=None, attempts=1):
    jobs = {} if job is None else {"a": job}
    return list(history.of_jobs(["a"], jobs, {"a": ends}, meant or {}, attempts))


def test_a_job_that_succeeded_once_breaks_no_promise():
    assert violations_of(SUCCEEDED, ["succeeded"]) == []


@pytest.mark.parametrize(
    ("job", "ends", "message"),
    [
        (None, [], "is lost"),
        ({**SUCCEEDED, "state": "queued"}, [], "is queued, not succeeded"),
        ({**LOST, "attempt": 1}, ["failed"], "is failed, not succeeded"),
        ({**SUCCEEDED, "attempt": 2}, ["succeeded"], "was tried 2 times"),
        (SUCCEEDED, ["succeeded", "succeeded"], "ended more than once"),
        (SUCCEEDED, ["failed", "succeeded"], "ended more than once"),
    ],
    ids=["lost", "left", "failed", "tried twice", "done twice", "ended twice"],
)
def test_job_that_was_not_done_is_a_violation(job, ends, message):
    violations = violations_of(job, ends)

    assert len(violations) == 1
    assert message in violations[0]


def test_a_job_that_was_meant_to_fail_must_fail():
    """A poisoned job that succeeds was not poisoned."""
    assert violations_of(LOST, ["failed"], meant={"a": "failed"}, attempts=3) == []
    assert violations_of(SUCCEEDED, ["succeeded"], meant={"a": "failed"}) != []


@pytest.mark.parametrize(
    ("injections", "recovered_s", "message"),
    [(0, [], "nothing was injected"), (1, [3.0, 10.5], "only after 10.5 s")],
    ids=["no fault", "too late"],
)
def test_scene_without_faults_or_with_a_late_recovery_is_a_violation(
    injections, recovered_s, message
):
    violations = list(history.of_faults(injections, recovered_s, 10.0))

    assert len(violations) == 1
    assert message in violations[0]
    assert list(history.of_faults(1, [3.0], 10.0)) == []


LINES = [
    report.Line("Redis killed", injections=2, answers=1_000, recovered_s=[1.0, 3.0]),
    report.Line("a random fault", report.SOAK, injections=3),
]
PAGE = """# Page
<!-- measured: chaos -->
old
<!-- /measured -->
between
<!-- measured: soak -->
older
<!-- /measured -->
after
"""


@pytest.mark.parametrize(
    ("picked", "lines", "part"),
    [
        ("", LINES, report.ALL),
        ("long_run", LINES[1:], report.SOAK),
        ("redis", LINES[:1], None),
        ("nothing", [], None),
    ],
    ids=["everything", "the soak", "some", "none"],
)
def test_a_run_writes_the_part_of_the_page_that_it_measured(picked, lines, part):
    """A run of some scenes must not pass for one of all."""
    assert report.part_of(picked, lines) == part


def test_soak_does_not_replace_the_results_of_the_scenes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")

    report.write(report.SOAK, LINES[1:], page)

    before, _, rest = PAGE.partition("older\n")
    message = page.read_text("utf-8")
    assert message.startswith(before)
    assert message.endswith(rest)
    assert 'ARGS="-k long_run"`, ' in message
    assert "| a random fault | 3 | 0 | 0 |  |" in message


def test_reliability_page_has_a_section_for_each_run(tmp_path):
    """Else a run of half an hour would end in an error."""
    copy = tmp_path / "page.md"
    copy.write_text(report.PAGE.read_text("utf-8"), "utf-8")

    for part in (report.ALL, report.SOAK):
        report.write(part, LINES, copy)

    assert copy.read_text("utf-8").count("| Redis killed | 2 | 1,000 | 0 | 2.0 / 3.0 s |") == 2
    with pytest.raises(ValueError, match="has no part 'other'"):
        report.write("other", LINES, copy)
