"""`make up` and `make down` on one machine: everything comes up, and nothing of it stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.servers import binaries
from local.stack.configuration import PROCESS_MARK
from local.stack.layout import ROOT

pytestmark = pytest.mark.system
Run = Callable[..., "subprocess.CompletedProcess[str]"]
PROCESSES = {"postgres", "redis", "web", "worker-features", "worker-training", "beat", "flower"}


@pytest.fixture
def var(tmp_path: Path) -> Path:
    return tmp_path / "a blank, 100% #1; it's"


@pytest.fixture
def stack(var: Path) -> Iterator[Run]:
    """Runs `python -m local.stack` on a stack of this test's own."""
    ours = ("DATABASE_URL", "REDIS_URL", "ML_REGISTRY_DIR")
    env = {name: value for name, value in os.environ.items() if name not in ours}

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "local.stack", *arguments],
            cwd=ROOT,
            env={**env, "LEDGER_VAR": str(var), **more},
            capture_output=True,
            text=True,
            timeout=150,
        )

    yield run
    run("down")
    shutil.rmtree(binaries.postgres_data_folder(var / "postgres"), ignore_errors=True)


def stack_pids(var: Path) -> list[int]:
    """The ids of all processes of this stack."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(PROCESS_MARK) == str(var):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def state(var: Path) -> dict[str, object]:
    return dict(json.loads((var / "run" / "stack.json").read_text()))


def test_everything_comes_up_on_free_ports_and_down_leaves_nothing(stack, var):
    """Where the usual port is taken, under a path with every awkward character."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        up = stack("up", WEB_PORT=str(taken))

    assert up.returncode == 0, up.stdout + up.stderr
    running = state(var)
    assert running["web_port"] != taken
    assert f"port {taken} is taken, so the API gets {running['web_port']}" in up.stdout
    with urllib.request.urlopen(f"http://127.0.0.1:{running['web_port']}/healthz") as answer:
        assert answer.status == 200
    lines = stack("status", WEB_PORT=str(taken)).stdout.splitlines()[1:]
    assert {line.split()[0] for line in lines} == PROCESSES
    assert {line.split()[1] for line in lines} == {"running"}

    again = stack("up", WEB_PORT=str(taken))
    assert "The stack is up" in again.stdout
    assert state(var) == running

    for secret in (var / "secrets").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        shown = [" ".join(psutil.Process(pid).cmdline()) for pid in stack_pids(var)]
        assert not [line for line in shown if secret.read_text() in line]

    down = stack("down")
    assert down.returncode == 0
    assert stack_pids(var) == []
    assert not Path(str(running["socket"])).parent.exists()


def test_down_ends_the_processes_of_a_killed_supervisor(stack, var):
    assert stack("up").returncode == 0
    socket_of_it = Path(str(state(var)["socket"]))
    os.kill(int((var / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    assert stack_pids(var)

    stack("down")

    assert stack_pids(var) == []
    assert not socket_of_it.parent.exists()


def test_up_shows_the_error_of_a_service_that_cannot_start(stack, var):
    up = stack("up", ML_DEPLOY_THRESHOLD_F1="much")

    assert up.returncode == 1
    assert "ML_DEPLOY_THRESHOLD_F1 must be a number from 0 to 1" in up.stderr
    assert stack_pids(var) == []


def test_up_uses_the_servers_named_in_the_environment_and_starts_none(
    stack, var, postgres_url, redis_url
):
    given = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}

    up = stack("up", **given)

    assert up.returncode == 0, up.stdout + up.stderr
    assert state(var)["postgres_port"] is None
    assert state(var)["redis_port"] is None
    assert not (var / "postgres").exists()
