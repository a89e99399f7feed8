"""Several real processes around one database, one broker and one registry, for a test to use."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared.registry.store import Deployment
from shared.settings import Settings
from tests import ROOT
from tests.support.waiting import wait_until


class Reply(NamedTuple):
    """What the service answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Stack:
    """Starts and ends processes of the service; ends only what it started."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.port = free_port()
        self.env = {**os.environ, **env, "WEB_PORT": str(self.port)}
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def web(self) -> subprocess.Popen[bytes]:
        process = self.start("web", "-m", "web")
        wait_until(self.alive, "the web process answers")
        return process

    def worker(self, queue: str, name: str = "") -> subprocess.Popen[bytes]:
        """A Celery worker for one queue, in a process group of its own."""
        name = name or queue
        options = ["-Q", queue, "-c", "1", "-n", f"{name}@%h", "--without-mingle"]
        return self.start(name, "-m", "celery", "-A", "worker.app", "worker", *options)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        address: str = "127.0.0.1",
        **headers: str,
    ) -> Reply:
        """One request; an error status is a reply like any other."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{address}:{self.port}{path}", data, dict(headers), method=method
        )
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Reply(answer.status, json.loads(answer.read() or b"null"), answer.headers)
        except urllib.error.HTTPError as error:
            return Reply(error.code, json.loads(error.read()), error.headers)

    def job(self, job_id: str, **headers: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/ml/v2/jobs/{job_id}", **headers).body)

    def ended(self, job_id: str, within_s: float = 60, **headers: str) -> dict[str, Any]:
        """The job once it has ended."""
        wait_until(
            lambda: self.job(job_id, **headers)["state"] in ("succeeded", "failed", "cancelled"),
            f"job {job_id} ends",
            within_s,
        )
        return self.job(job_id, **headers)

    def alive(self, address: str = "127.0.0.1") -> bool:
        """Whether a web process answers there."""
        try:
            return self.call("GET", "/healthz", address=address).status == 200
        except OSError:
            return False

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """The lines of one kind in the log of this name."""
        whole, _, _ = self.log(name).rpartition("\n")
        return [json.loads(it) for it in whole.splitlines() if f'"event":"{event}"' in it]

    def seconds_of(self, route: str) -> list[float]:
        """How long the web process worked on each request for *route* so far, by its log.

        That a busy machine lets the caller wait is no part of it.
        """
        return [it["ms"] / 1000 for it in self.events("web", "request") if it["route"] == route]

    def wait_until_followed(self, deploy: Deployment) -> float:
        """Wait until each web process answers with this deploy; the seconds from one to the other.

        Both moments are noted by the service, so a caller that is late does no harm.
        """
        deployed_at = dt.datetime.fromisoformat(deploy.at)
        processes = Settings.from_env(self.env).web_processes

        def followed_at() -> list[dt.datetime]:
            looks = self.events("web", "runtime.followed")
            found = [it["at"] for it in looks if it["served"] == deploy.run_id]
            return [at for at in map(dt.datetime.fromisoformat, found) if at >= deployed_at]

        wait_until(lambda: len(followed_at()) >= processes, f"{deploy.run_id} answers everywhere")
        return (max(followed_at()) - deployed_at).total_seconds()

    def close(self) -> None:
        for process in self.processes:
            kill(process, signal.SIGKILL)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process of the service, which writes to a log of this name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process


def kill(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Send a signal to the process and all of its group, and wait for the end of a killed one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    if how is signal.SIGKILL:
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def callers(count: int, call: Callable[[], object]) -> Iterator[list[object]]:
    """*count* threads that call again and again while the block runs; what they got, in the end."""
    got: list[object] = []
    stop = threading.Event()

    def again_and_again() -> None:
        while not stop.is_set():
            try:
                got.append(call())
            except Exception as error:
                got.append(error)

    threads = [threading.Thread(target=again_and_again) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield got
    finally:
        stop.set()
        for thread in threads:
            thread.join()
