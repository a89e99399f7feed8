"""The Dockerfile: what goes into the image is enough for the service, and not more."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support import compose_file
from tests.support.compose_file import ROOT, instructions, tool

ENTRIES = (
    "web.wsgi",
    "web.__main__",
    "worker.app",
    "worker.training.trainer",
    "shared.db",
    "deploy.healthcheck",
)


def test_dockerfile_passes_the_linter():
    done = subprocess.run(
        [tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )

    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("module", ENTRIES)
def test_copied_files_are_enough_for_every_process(module, tmp_path, environment):
    """Each is imported from a folder that holds just what the image has."""
    compose_file.fill_image(tmp_path)

    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=tmp_path,
        env={**os.environ, **environment, "PYTHONSAFEPATH": "", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr


def test_copied_files_are_not_ignored():
    """It lets through what it names and nothing else, so no secret and no data can slip in."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    kept = {line[1:] for line in lines if line.startswith("!")}

    named = {source for sources, _ in compose_file.copied() for source in sources}
    sources = {it for it in named if not any(it.startswith(f"{folder}/") for folder in named)}

    assert lines[1] == "*"
    assert kept == sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_packages_are_installed_by_hash_from_wheels_without_a_cache():
    runs = " ".join(runs_of("packages"))

    assert "--require-hashes --only-binary=:all: -r /tmp/runtime.lock" in runs
    assert "--no-cache-dir" in runs
    assert not has_tools(runs)


def runs_of(stage: str) -> list[str]:
    """What a stage runs; the last one has no name."""
    found, at = [], ""
    for name, rest in instructions():
        if name == "FROM":
            _, _, at = rest.partition(" AS ")
        elif name == "RUN" and at == stage:
            found.append(rest)
    return found


def has_tools(runs: str) -> bool:
    return bool(re.search(r"\b(gcc|g\+\+|build-essential|make|curl|wget|git)\b", runs))


def test_kernel_is_compiled_in_its_own_stage_and_is_required():
    """Their source and its compiler's flags are the ones that `make` uses."""
    *_, last = runs_of("kernel")

    assert last == "python shared/native/build.py && test -e shared/native/libkernel.so"


def test_image_runs_as_the_user_of_compose(tmp_path):
    users = [rest for name, rest in instructions() if name == "USER"]
    services = compose_file.resolve_compose(tmp_path)["services"]

    assert users == ["10001:10001"]
    assert {services[name]["user"] for name in ("web", "worker", "beat", "migrate", "flower")} == {
        users[-1]
    }


def test_writable_folders_are_tmp_or_volumes():
    env = compose_file.image_environment()

    assert env["ML_REGISTRY_DIR"] == "/app/models/ledger_suggestions"
    assert env["HOME"] == "/tmp"
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["MALLOC_ARENA_MAX"] == "1"


def test_python_is_pinned_and_the_last_stage_has_no_compiler():
    bases = [rest for name, rest in instructions() if name == "FROM"]

    runs = " ".join(runs_of(""))

    assert len(bases) == 3
    assert " AS " not in bases[-1]
    assert "libgomp1" in runs
    assert not has_tools(runs)
    assert all(re.match(r"python:3\.11\.\d+-slim-\w+\b", base) for base in bases)
    assert len({base.split()[0] for base in bases}) == 1
