"""supervisord of the local stack: configuration, RPC, and clean-up of leftover processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from local.servers import commands
from local.stack import configuration
from local.stack.configuration import PROCESS_MARK, State
from local.stack.layout import LOG, ROOT, RUN, VAR, StackError

CONFIG = RUN / "supervisord.conf"
APP = "app"  # the supervisor group of everything but the servers
APP_GRACE_S = 10
SERVER_GRACE_S = 20
SERVERS = {"postgres": signal.SIGINT, "valkey-server": signal.SIGTERM}
SOCKET_PREFIX = "ledger-stack-"
UNREACHABLE = (OSError, HTTPException, xmlrpc.client.Error)

HEAD = """\
[supervisord]
nodaemon=true
logfile=%(ENV_LEDGER_LOG)s/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile=%(ENV_LEDGER_VAR)s/run/supervisord.pid
minfds=256
minprocs=64
umask=022

[unix_http_server]
file=%(ENV_LEDGER_SOCKET)s
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One program of the stack, as supervisor sees it."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, FATAL, EXITED, STOPPED, ...
    pid: int | None
    since_s: int


def start(state: State) -> None:
    """Start supervisord with this run's programs; the servers start at once, the app waits.

    Raises:
        StackError: it did not come up.
    """
    _write_config(state)
    with (LOG / "supervisord.out").open("wb") as out:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIG)],
            cwd=ROOT,
            env=configuration.supervisor_environment(state),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + 20
    while processes(state) is None:
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise StackError(
                f"supervisord did not start:\n{commands.last_lines(LOG / 'supervisord.out')}"
            )
        time.sleep(0.05)


def start_app(state: State) -> None:
    """Start the service's own processes, without waiting for them."""
    _rpc(state).startProcessGroup(APP, False)


def processes(state: State) -> list[Process] | None:
    """Return every program of the running stack, or None if there is no supervisord."""
    try:
        rows: Any = _rpc(state).getAllProcessInfo()
    except UNREACHABLE:
        return None
    return [
        Process(
            name=info["name"],
            state=info["statename"],
            pid=info["pid"] or None,
            since_s=info["now"] - info["start"] if info["start"] else 0,
        )
        for info in rows
    ]


def shut_down(state: State) -> bool:
    """Make supervisord stop everything in order, without waiting; return False if there is none."""
    try:
        _rpc(state).shutdown()
    except UNREACHABLE:
        return False
    return True


def remove_socket(state: State) -> None:
    folder = Path(state.socket).parent
    if folder.name.startswith(SOCKET_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def new_socket() -> Path:
    """Return a short path in a new private folder; a socket's path may have about 100 bytes."""
    folder = Path(tempfile.gettempdir())
    if len(os.fsencode(folder)) > 50:
        folder = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=folder)) / "socket"


def find_leftovers() -> list[psutil.Process]:
    """Return every process of this folder's stack, by the mark in its environment."""
    leftovers = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(PROCESS_MARK) == str(VAR):
                leftovers.append(process)
    return leftovers


def stop_processes(processes: list[psutil.Process]) -> None:
    """Terminate these processes, the servers last; kill those that run after APP_GRACE_S."""
    servers = [process for process in processes if _name(process) in SERVERS]
    for group in ([process for process in processes if process not in servers], servers):
        pids = {process.pid for process in group}
        for process in group:
            with contextlib.suppress(psutil.Error):
                if process.ppid() not in pids:  # a parent ends its children itself
                    process.send_signal(SERVERS.get(_name(process), signal.SIGTERM))
        _, alive = psutil.wait_procs(group, timeout=APP_GRACE_S)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=5)


def describe_processes(processes: list[psutil.Process]) -> str:
    """Return their names: those of the service's own processes if there are any, else programs."""
    names = set()
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            names.add(process.environ().get("SUPERVISOR_PROCESS_NAME", ""))
    names = names - {""} or {_name(process) for process in processes} - {""}
    return ", ".join(sorted(names)) or "the last of them"


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _rpc(state: State) -> Any:
    transport = SupervisorTransport(None, None, serverurl=f"unix://{state.socket}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def _write_config(state: State) -> None:
    """Write it without secrets and paths: programs get those from supervisord's environment."""
    sections = [HEAD]
    if os.geteuid() == 0:
        sections[0] = HEAD.replace("nodaemon", "user=root\nnodaemon")
    for priority, (name, command) in enumerate(
        configuration.server_commands(state).items(), start=1
    ):
        launch_spec = {
            "argv": command.argv,
            "env": {**command.env, PROCESS_MARK: str(VAR)},
            "identity": command.identity,
        }
        (RUN / f"{name}.json").write_text(json.dumps(launch_spec))
        launch = (
            f'%(ENV_LEDGER_PYTHON)s -m local.servers.launch "%(ENV_LEDGER_VAR)s/run/{name}.json"'
        )
        stop = signal.Signals(command.stop_signal).name.removeprefix("SIG")
        sections.append(_program(name, launch, priority, stop, SERVER_GRACE_S, autostart=True))
    app = configuration.app_commands(state)
    # One group: its programs end side by side, and before the servers.
    sections.append(f"[group:{APP}]\nprograms={','.join(app)}\npriority=10\n")
    for name, command_line in app.items():
        sections.append(_program(name, command_line, 10, "TERM", APP_GRACE_S, autostart=False))
    CONFIG.write_text("\n".join(sections))


def _program(
    name: str, command: str, priority: int, stop: str, grace_s: int, *, autostart: bool
) -> str:
    # supervisor fills in this log's path twice: the doubled sign keeps a `%` in it from the second.
    return f"""\
[program:{name}]
command={command}
priority={priority}
autostart={str(autostart).lower()}
autorestart=true
startsecs=2
startretries=5
stopsignal={stop}
stopwaitsecs={grace_s}
killasgroup=true
redirect_stderr=true
stdout_logfile=%%(ENV_LEDGER_LOG)s/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""
