"""Real PostgreSQL and Redis (Valkey) servers for a test run.

    with postgres() as database, valkey() as broker:
        ...  # database.url, broker.url, broker.kill(), broker.start()

They listen on 127.0.0.1 on ports of their own, and end with the process that started them, even
if that is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.servers import binaries, commands
from local.servers.binaries import ServersMissing
from local.servers.commands import Command

__all__ = ["Server", "ServersMissing", "postgres", "start_postgres", "start_valkey", "valkey"]

START_TIMEOUT_S = 30.0
STOP_GRACE_S = 15.0
TRIES = 4  # a free port can be taken by another before the server has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What differs between the two servers."""

    command: Callable[[Path, int, str], Command]
    url: Callable[[int, str], str]
    ready: Callable[[str], bool]


POSTGRES = Kind(
    command=lambda data, port, password: commands.postgres_command(
        data, port, password, durable=False
    ),
    url=commands.postgres_url,
    ready=commands.postgres_ready,
)
VALKEY = Kind(command=commands.valkey_command, url=commands.valkey_url, ready=commands.valkey_ready)


class Server:
    """A running server with its data in one folder; can be stopped, killed and started again."""

    url: str
    port: int
    data: Path

    def __init__(self, kind: Kind, folder: Path, *, port: int | None, lasting: bool) -> None:
        self.folder = folder
        self._kind = kind
        self._lasting = lasting
        self._watchdog: subprocess.Popen[bytes] | None = None
        # PostgreSQL's user must be able to enter; secret files in it are private.
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        self._password = commands.password_in(folder / "password")
        self._start_on(port)

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return int((self.folder / "pid").read_text())

    def start(self) -> None:
        """Start the server again, at the same address with the same data.

        Raises:
            RuntimeError: it did not start; the message ends with its log.
        """
        self._start_on(self.port)

    def stop(self) -> None:
        """Stop the server in order; its data stay."""
        if self._watchdog:
            self._watchdog.terminate()
            self._watchdog.wait(STOP_GRACE_S + 5)

    def kill(self) -> None:
        """Kill the server, as a crash would; its data stay."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        if self._watchdog:
            self._watchdog.wait(STOP_GRACE_S + 5)

    def discard(self) -> None:
        """Stop the server and remove its folder and its data, which may lie elsewhere."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_on(self, port: int | None) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        for _ in range(TRIES):
            self.port = port or commands.free_port()
            self.url = self._kind.url(self.port, self._password)
            command = self._kind.command(self.folder / "data", self.port, self._password)
            self.data = command.data
            self._watchdog = self._start_watchdog(command)
            while self._watchdog.poll() is None and time.monotonic() < deadline:
                if (self.folder / "pid").exists() and self._kind.ready(self.url):
                    return
                time.sleep(0.02)
            self.stop()
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)  # after a crash, the server's old processes may still be ending
        log = commands.last_lines(self.folder / "server.log")
        raise RuntimeError(f"the server in {self.folder} did not start\n{log}")

    def _start_watchdog(self, command: Command) -> subprocess.Popen[bytes]:
        (self.folder / "pid").unlink(missing_ok=True)
        order = self.folder.absolute() / "order.json"
        spec = {
            "argv": command.argv,
            "env": command.env,
            "identity": command.identity,
            "stop_signal": int(command.stop_signal),
            "grace_s": STOP_GRACE_S,
            "owner": os.getpid(),
            "remove_if_orphaned": [] if self._lasting else [str(command.data), str(order.parent)],
        }
        order.write_text(json.dumps(spec))
        return subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("watchdog.py")), str(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def start_postgres(folder: Path, *, port: int | None = None, lasting: bool = True) -> Server:
    """Start PostgreSQL with its data in *folder*, new or of an earlier start.

    Args:
        port: None takes a free one.
        lasting: False removes the folder if the caller dies.

    Raises:
        ServersMissing: it is not installed or cannot run here.
        RuntimeError: it did not start; the message ends with its log.
    """
    return Server(POSTGRES, folder, port=port, lasting=lasting)


def start_valkey(folder: Path, *, port: int | None = None, lasting: bool = True) -> Server:
    """Start Valkey with its data in *folder*; as `start_postgres`."""
    return Server(VALKEY, folder, port=port, lasting=lasting)


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """A new, empty PostgreSQL server; nothing of it is left afterwards."""
    yield from _temporary(POSTGRES)


@contextlib.contextmanager
def valkey() -> Iterator[Server]:
    """A new, empty Redis server; nothing of it is left afterwards."""
    yield from _temporary(VALKEY)


def _temporary(kind: Kind) -> Iterator[Server]:
    root = binaries.temporary_root()
    remove_leftovers(root)
    folder = Path(tempfile.mkdtemp(prefix=commands.TEMPORARY, dir=root))
    server = Server(kind, folder, port=None, lasting=False)
    try:
        yield server
    finally:
        server.discard()


def remove_leftovers(root: Path) -> None:
    """Remove the servers and data of runs that were killed together with their watchdogs."""
    for folder in root.glob(f"{commands.TEMPORARY}*"):
        try:
            if folder.stat().st_uid != os.geteuid():
                continue
            spec = json.loads((folder / "order.json").read_text())
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if psutil.pid_exists(spec["owner"]):
                continue
            _kill_if_still(int((folder / "pid").read_text()), spec["argv"])
        except (OSError, ValueError):
            continue  # in use, or just being made or removed by another run
        for path in (*spec["remove_if_orphaned"], folder):
            shutil.rmtree(path, ignore_errors=True)


def _kill_if_still(pid: int, argv: list[str]) -> None:
    """Kill this process if it is still the one that was started with *argv*."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.cmdline() == argv:
            process.kill()
            process.wait(10)
