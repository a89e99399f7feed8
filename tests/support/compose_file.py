"""The production files as their own tools read them: compose's services, the image's recipe."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.setup.env_file import fill
from tests import ROOT

EXAMPLE = ROOT / ".env.example"


def tool(name: str) -> str:
    """A program of this environment or of the system; without it the test is skipped."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here; .ci/packages installs what it can")
    return found


def compose(*arguments: str, env_file: Path | str) -> subprocess.CompletedProcess[str]:
    """The real docker compose, which needs no engine to read a file."""
    return subprocess.run(
        [tool("docker-compose"), "--env-file", str(env_file), *arguments],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def resolve_compose(folder: Path) -> dict[str, Any]:
    """The whole project with a `.env` as `make env` writes it, every default filled in."""
    env_file = folder / "compose.env"
    env_file.write_text(fill(EXAMPLE.read_text()))
    done = compose("config", "--format", "json", env_file=env_file)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its arguments on one line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def image_environment() -> dict[str, str]:
    """What the image sets for every process."""
    pairs = [word for name, rest in instructions() if name == "ENV" for word in shlex.split(rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def image_stop_signal() -> str:
    """How an engine asks the image's process to end, where compose says nothing else."""
    return next(rest for name, rest in instructions() if name == "STOPSIGNAL")


def copied(*, last_stage: bool = False) -> list[tuple[list[str], str]]:
    """What comes from this folder into the build, or its last stage: sources and where to."""
    found: list[tuple[list[str], str]] = []
    for name, rest in instructions():
        if name == "FROM" and last_stage:
            found = []
        if name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            found.append((sources, target))
    return found


def fill_image(folder: Path) -> None:
    """Make *folder* what the image has in /app."""
    for sources, target in copied(last_stage=True):
        for source in sources:
            into = folder / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place = into / source if target == "./" else into / Path(source).name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    for made in ("models/ledger_suggestions/versions", "models/ledger_suggestions/deploy", "state"):
        (folder / made).mkdir(parents=True)


def seconds(duration: str) -> float:
    """`1m30s` as compose writes it, in seconds."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(
        float(number) * units[unit] for number, unit in re.findall(r"([0-9.]+)([hms])", duration)
    )
