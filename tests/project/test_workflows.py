"""The workflows of GitHub Actions: fit their schema, pinned, small rights, and each step works."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose_file import ROOT, tool

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
OWN = ("DATABASE_URL", "REDIS_URL", "ML_REGISTRY_DIR")  # of this run's servers
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def workflow(name: str) -> dict[str, Any]:
    # `on` is a truth value in YAML 1.1, and a key here.
    return {str(key): value for key, value in yaml.safe_load((FOLDER / name).read_text()).items()}


def scripts(name: str, job: str) -> list[str]:
    """The `run` of each step, in order."""
    steps = workflow(name)["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step]


def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a step as the runner does."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=ROOT,
        env=kept | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
    )


@every_file
@pytest.mark.parametrize(
    "schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"]
)
def test_a_workflow_fits_its_schema_and_every_job_ends(path, schema):
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", schema, str(path)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


@every_file
def test_a_workflow_reads_this_repository_and_nothing_more(path):
    found = workflow(path.name)

    assert found["permissions"] == {"contents": "read"}
    assert found["concurrency"]["group"]
    assert found["defaults"]["run"]["shell"] == "bash"  # which ends a script at the first failure
    assert all("permissions" not in job for job in found["jobs"].values())
    assert "secrets." not in path.read_text()


@every_file
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path):
    used = [
        line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line
    ]

    assert used
    assert [line for line in used if not PINNED.fullmatch(line)] == []
    assert path.read_text().count("persist-credentials: false") == path.read_text().count(
        "checkout@"
    )


@every_file
def test_no_step_hides_a_failure(path):
    text = path.read_text()

    assert "continue-on-error" not in text
    assert "|| true" not in text


def test_each_push_and_pull_request_is_checked_and_tested_on_both_pythons():
    found = workflow("ci.yml")

    assert set(found["True"]) == {"push", "pull_request"}
    assert found["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert scripts("ci.yml", "check") == ["make check"]
    assert scripts("ci.yml", "test")[-1] == "make test"


def test_nightly_workflow_trains_at_the_time_of_the_service():
    found = workflow("ml.yml")

    assert found["True"]["schedule"] == [{"cron": "23 3 * * *"}]
    assert "workflow_dispatch" in found["True"]


@every_file
def test_every_script_is_valid_bash(path):
    """Those of the job that needs a container engine too."""
    for job in workflow(path.name)["jobs"]:
        for script in scripts(path.name, job):
            done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def test_push_runs_the_checks_of_a_local_change():
    """Each step is a line of .ci/run."""
    lines = [line.split(" 2>&1")[0] for line in (ROOT / ".ci/run").read_text().splitlines()]

    steps = [*scripts("ci.yml", "check"), *scripts("ci.yml", "test")]

    assert [step for step in steps if step not in lines] == []


@pytest.mark.system
def test_test_step_runs_locally():
    """By one file of the tests, this one being among them."""
    done = run(scripts("ci.yml", "test")[-1], ARGS="-q tests/shared/test_settings.py")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Folders of this test's own; the stack that the steps start ends with it."""
    env = {"RUNNER_TEMP": str(tmp_path / "runner"), "LEDGER_VAR": str(tmp_path / "var")}
    (tmp_path / "runner").mkdir()
    yield env
    run("make down", **env)


@pytest.mark.system
def test_every_nightly_step_runs_locally(runner):
    """From nothing to a prediction by a new model; what is uploaded is there."""
    for script in scripts("ml.yml", "train"):
        done = run(script, **runner)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    results = Path(runner["RUNNER_TEMP"])
    assert '"deployed": true' in (results / "train.json").read_text()
    assert '"available": true' in (results / "prediction.json").read_text()
    upload = workflow("ml.yml")["jobs"]["train"]["steps"][-1]["with"]["path"]
    for path in upload.splitlines():
        place = path.replace("${{ runner.temp }}", str(results))
        place = re.sub("^var(?=/)", runner["LEDGER_VAR"], place)
        assert list(Path("/").glob(place[1:])), path
