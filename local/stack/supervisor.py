"""supervisord under the local stack: its configuration, talking to it, ending what is left."""

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
    """Start the service's own processes; does not wait for them."""
    _rpc(state).startProcessGroup(APP, False)


def processes(state: State) -> list[Process] | None:
    """Every program of the running stack, or None if there is no supervisord."""
    try:
        found: Any = _rpc(state).getAllProcessInfo()
    except UNREACHABLE:
        return None
    return [
        Process(
            name=info["name"],
            state=info["statename"],
            pid=info["pid"] or None,
            since_s=info["now"] - info["start"] if info["start"] else 0,
        )
        for info in found
    ]


def shut_down(state: State) -> bool:
    """Ask supervisord to end everything in order; False if there is none. Does not wait."""
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
    """A short path in a folder only we can enter; the system allows about 100 bytes."""
    place = Path(tempfile.gettempdir())
    if len(os.fsencode(place)) > 50:
        place = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir=place)) / "socket"


def find_leftovers() -> list[psutil.Process]:
    """Every process that belongs to this folder's stack, by the mark in its environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(PROCESS_MARK) == str(VAR):
                found.append(process)
    return found


def stop_processes(found: list[psutil.Process]) -> None:
    """End these processes in the proper way, the servers last; by force what does not in 10 s."""
    servers = [process for process in found if _name(process) in SERVERS]
    for group in ([process for process in found if process not in servers], servers):
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


def describe_processes(found: list[psutil.Process]) -> str:
    """What a person calls them: the service's own, as long as one is there, else the programs."""
    called = set()
    for process in found:
        with contextlib.suppress(psutil.Error, OSError):
            called.add(process.environ().get("SUPERVISOR_PROCESS_NAME", ""))
    called = called - {""} or {_name(process) for process in found} - {""}
    return ", ".join(sorted(called)) or "the last of them"


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _rpc(state: State) -> Any:
    transport = SupervisorTransport(None, None, serverurl=f"unix://{state.socket}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def _write_config(state: State) -> None:
    """Secrets and paths stay out of it: programs get them from supervisord's environment."""
    sections = [HEAD]
    if os.geteuid() == 0:
        sections[0] = HEAD.replace("nodaemon", "user=root\nnodaemon")
    for priority, (name, command) in enumerate(
        configuration.server_commands(state).items(), start=1
    ):
        order = {
            "argv": command.argv,
            "env": {**command.env, PROCESS_MARK: str(VAR)},
            "identity": command.identity,
        }
        (RUN / f"{name}.json").write_text(json.dumps(order))
        launch = (
            f'%(ENV_LEDGER_PYTHON)s -m local.servers.launch "%(ENV_LEDGER_VAR)s/run/{name}.json"'
        )
        stop = signal.Signals(command.stop_signal).name.removeprefix("SIG")
        sections.append(_program(name, launch, priority, stop, SERVER_GRACE_S, autostart=True))
    app = configuration.app_commands(state)
    # One group: its programs end side by side, and before the servers.
    sections.append(f"[group:{APP}]\nprograms={','.join(app)}\npriority=10\n")
    for name, line in app.items():
        sections.append(_program(name, line, 10, "TERM", APP_GRACE_S, autostart=False))
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
