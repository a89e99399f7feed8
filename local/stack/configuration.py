"""Configuration of one run of the local stack: addresses, passwords, environment, programs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from local.servers import binaries, commands
from local.servers.commands import Command
from local.stack import openmp
from local.stack.layout import LOG, ROOT, RUN, SECRETS, STATE, VAR

PROCESS_MARK = (
    "LEDGER_STACK"  # in the environment of every process of the stack, so none can be missed
)
METRICS = RUN / "metrics"
FLOWER_USER = "admin"
# Another value of one of these means another stack; see `State.fingerprint`.
SETTINGS = ("API_", "ML_", "SUGGEST_", "WEB_", "LOG_LEVEL", "DATABASE_URL", "REDIS_URL")
CODE = ("celeryconfig.py", "requirements/local.lock", "shared", "web", "worker", "local")
PREFERRED = {"web": 8000, "flower": 5555, "postgres": 54329, "redis": 63790}


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One run of the stack, as stored in `var/run/stack.json`; without secrets."""

    fingerprint: str  # of the settings and the code it runs with
    socket: str  # where supervisord listens
    web_host: str
    web_port: int
    flower_port: int
    postgres_port: int | None  # None: DATABASE_URL names the server
    redis_port: int | None

    @classmethod
    def load(cls) -> Self | None:
        """Return the state of the last run, or None."""
        try:
            return cls(**json.loads(STATE.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self) -> None:
        commands.write_secret(STATE, json.dumps(asdict(self), indent=2) + "\n")

    @property
    def web_url(self) -> str:
        host = {"0.0.0.0": "localhost", "127.0.0.1": "localhost", "::1": "localhost"}
        return f"http://{host.get(self.web_host, self.web_host)}:{self.web_port}"

    @property
    def flower_url(self) -> str:
        return f"http://localhost:{self.flower_port}"


def new_state(socket: Path) -> State:
    """Choose ports for a new run: the usual ones, or others near those that are taken."""
    return State(
        fingerprint=fingerprint(),
        socket=str(socket),
        web_host=os.environ.get("WEB_HOST") or "127.0.0.1",
        web_port=commands.free_port(_preferred("web", "WEB_PORT")),
        flower_port=commands.free_port(_preferred("flower", "FLOWER_PORT")),
        postgres_port=None if os.environ.get("DATABASE_URL") else _server_port("postgres"),
        redis_port=None if os.environ.get("REDIS_URL") else _server_port("redis"),
    )


def moved_ports(state: State) -> list[str]:
    """Return a line for each part that did not get its usual port."""
    return [
        f"port {usual} is taken, so {part} gets {port}"
        for part, usual, port in (
            ("the API", _preferred("web", "WEB_PORT"), state.web_port),
            ("Flower", _preferred("flower", "FLOWER_PORT"), state.flower_port),
        )
        if port != usual
    ]


def fingerprint() -> str:
    """Return a hash of the settings in the environment and of the code."""
    digest = hashlib.sha256(sys.executable.encode())
    for name, value in sorted(os.environ.items()):
        if name.startswith(SETTINGS):
            digest.update(f"{name}={value}\n".encode(errors="surrogateescape"))
    for path in _code():
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def environment(state: State) -> dict[str, str]:
    """Return the environment of the processes and commands of this stack."""
    env = {
        "ML_REGISTRY_DIR": str(VAR / "models" / "ledger_suggestions"),
        "SUGGEST_USE_MODEL_CANARY": "1",  # one person at home is no share of users
        "WEB_HOST": state.web_host,
        "WEB_PROCESSES": "2",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **({} if os.environ.get("API_TOKENS") else {"API_AUTH": "off"}),
        **{name: value for name, value in os.environ.items() if value != ""},
        "WEB_PORT": str(state.web_port),
        "PROMETHEUS_MULTIPROC_DIR": str(METRICS),
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
    }
    if state.postgres_port:
        password = commands.password_in(SECRETS / "postgres")
        env["DATABASE_URL"] = commands.postgres_url(state.postgres_port, password)
    if state.redis_port:
        password = commands.password_in(SECRETS / "redis")
        env["REDIS_URL"] = commands.valkey_url(state.redis_port, password)
    if path := openmp.library_path():
        env["LD_LIBRARY_PATH"] = path
    return env


def supervisor_environment(state: State) -> dict[str, str]:
    """Return that environment, with what only the long-running processes need."""
    interpreter = Path(sys.executable)
    return environment(state) | {
        PROCESS_MARK: str(VAR),
        "LEDGER_VAR": str(VAR),
        "LEDGER_LOG": str(LOG),
        "LEDGER_SOCKET": state.socket,
        "FLOWER_URL": state.flower_url,
        "LEDGER_PYTHON": interpreter.name,
        "PATH": f"{interpreter.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # Not in the command line, which everyone can read.
        "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{commands.password_in(SECRETS / 'flower')}",
    }


def server_commands(state: State) -> dict[str, Command]:
    """Return how to run the servers of this stack; the first call makes their data folders."""
    servers: dict[str, Command] = {}
    if state.postgres_port:
        servers["postgres"] = commands.postgres_command(
            VAR / "postgres",
            state.postgres_port,
            commands.password_in(SECRETS / "postgres"),
            durable=True,
        )
    if state.redis_port:
        servers["redis"] = commands.valkey_command(
            VAR / "redis" / "data", state.redis_port, commands.password_in(SECRETS / "redis")
        )
    return servers


def data_outside_var() -> dict[str, Path]:
    """Return the servers whose user cannot reach `var/`, with their data folders."""
    folder = binaries.postgres_data_folder(VAR / "postgres")
    return {} if folder.is_relative_to(VAR) else {"PostgreSQL": folder}


def app_commands(state: State) -> Mapping[str, str]:
    """Return the service's own commands in supervisor's syntax, which fills in `%(ENV_…)s`.

    Paths come from the environment: in the file, blanks, `%`, `#` and `;` would mean something.
    """
    celery = "%(ENV_LEDGER_PYTHON)s -m celery -A worker.app"
    return {
        "web": "%(ENV_LEDGER_PYTHON)s -m web",
        "worker-features": f"{celery} worker -Q features -c 2 -n features@%%h -E",
        "worker-training": f"{celery} worker -Q training -c 1 -n training@%%h -E",
        "beat": f'{celery} beat --schedule "%(ENV_LEDGER_VAR)s/run/beat-schedule"',
        "flower": f"{celery} flower --address=127.0.0.1 --port={state.flower_port}"
        ' --persistent=True --db="%(ENV_LEDGER_VAR)s/flower"',
    }


def reset_metrics_folder() -> None:
    """Empty the folder of the counters, which start with the processes."""
    shutil.rmtree(METRICS, ignore_errors=True)
    METRICS.mkdir(parents=True)


def _preferred(name: str, variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() and 0 < int(text) < 65536 else PREFERRED[name]


def _server_port(name: str) -> int:
    return commands.free_port(PREFERRED[name])


def _code() -> Iterator[Path]:
    for part in CODE:
        path = ROOT / part
        yield from sorted(path.rglob("*.py")) if path.is_dir() else filter(Path.exists, [path])
