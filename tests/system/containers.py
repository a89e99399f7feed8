"""The services of docker-compose.yml as processes, each shut in as its container would be.

Command, environment, user, mounts and their modes are those that docker compose reads from the
file; addresses are the tests'. Bubblewrap makes the rest: a read-only root, a /tmp of its own, a
host name of its own, no capabilities. Where it cannot run, the same processes run unconfined.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from tests.support import compose_file
from tests.support.compose_file import seconds
from tests.support.waiting import wait_until

BUBBLEWRAP = shutil.which("bwrap") or ""
NOT_OURS = {"proc", "dev", "tmp", "app"}  # of the machine's folders


@dataclass(frozen=True, slots=True)
class Container:
    """One running service."""

    service: str
    host: str
    process: subprocess.Popen[bytes]
    stop_signal: signal.Signals
    grace_s: float

    @property
    def main(self) -> psutil.Process:
        """The service's own first process, below those that shut it in."""
        found = psutil.Process(self.process.pid)
        while found.name() == "bwrap":
            found = found.children()[0]
        return found

    def ended_within_grace(self, asked_at: float) -> float:
        """The seconds to the end; AssertionError if an engine would have killed it by then."""
        try:
            self.process.wait(max(0.1, asked_at + self.grace_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.host} did not end within {self.grace_s} s") from None
        return time.monotonic() - asked_at


class Containers:
    """Starts services of one project; ends all it has started."""

    def __init__(self, project: Mapping[str, Any], folder: Path, own: Mapping[str, str]) -> None:
        """*own* replaces what the file says of addresses; *folder* gets volumes and logs."""
        self._services = project["services"]
        self._folder = folder
        self._own = own
        self._running: list[Container] = []
        self.app = folder / "image"
        compose_file.fill_image(self.app)
        for volume in project["volumes"]:
            (folder / "volumes" / volume).mkdir(parents=True)

    @cached_property
    def shut_in(self) -> bool:
        """Whether bubblewrap runs here."""
        if not BUBBLEWRAP:
            return False
        probe = [BUBBLEWRAP, *self._box("probe", "web"), "true"]
        return subprocess.run(probe, capture_output=True).returncode == 0

    def start(self, service: str, host: str = "", **env: str) -> Container:
        """Start a service; *host* is its container's name, *env* changes its environment."""
        host = host or f"{service}-1"
        with (self._folder / f"{host}.log").open("ab") as log:
            process = subprocess.Popen(
                self._argv(service, host, self._services[service]["command"]),
                env=self._environment(service, host) | env,
                cwd=self.app,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        made = self._services[service]
        how = signal.Signals[made.get("stop_signal", compose_file.image_stop_signal())]
        grace_s = seconds(made["stop_grace_period"])
        self._running.append(Container(service, host, process, how, grace_s))
        return self._running[-1]

    def run(self, service: str, *command: str, host: str = "", **env: str) -> int:
        """Run a command in a container beside the running one, and give its exit status."""
        host = host or f"{service}-1"
        done = subprocess.run(
            self._argv(service, host, list(command) or self._services[service]["command"]),
            env=self._environment(service, host) | env,
            cwd=self.app,
            capture_output=True,
            text=True,
            timeout=60,
        )
        (self._folder / f"{host}-run.log").write_text(done.stdout + done.stderr)
        return done.returncode

    def is_healthy(self, container: Container, **env: str) -> bool:
        """Whether the service's health check passes."""
        kind, *check = self._services[container.service]["healthcheck"]["test"]
        assert kind == "CMD"
        if not self.shut_in and "worker" in check:  # it would look for the machine's name
            return f"@{container.host} ready." in self.log(container.host)
        return self.run(container.service, *check, host=container.host, **env) == 0

    def wait_until_healthy(self, started: Sequence[Container], **env: str) -> None:
        """Wait until the health check of each passes; AssertionError if one has ended."""

        def wait(container: Container) -> None:
            wait_until(
                lambda: container.process.poll() is not None or self.is_healthy(container, **env),
                f"{container.host} is healthy",
            )
            assert container.process.poll() is None, self.log(container.host)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(wait, started))

    def uses(self, container: Container) -> dict[str, int]:
        """Memory in bytes, shared pages counted once, and threads, as an engine limits them."""
        family = [container.main, *container.main.children(recursive=True)]
        return {
            "mem_limit": sum(process.memory_full_info().pss for process in family),
            "pids_limit": sum(process.num_threads() for process in family),
        }

    def limits(self, container: Container) -> dict[str, int]:
        service = self._services[container.service]
        return {name: int(service[name]) for name in ("mem_limit", "pids_limit")}

    def log(self, host: str) -> str:
        return (self._folder / f"{host}.log").read_text(errors="replace")

    def close(self) -> None:
        for container in self._running:
            if container.process.poll() is None:
                for process in psutil.Process(container.process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
                        process.kill()
                container.process.kill()
                container.process.wait()

    def _environment(self, service: str, host: str) -> dict[str, str]:
        of_service = self._services[service]["environment"]
        given = {name: value for name, value in of_service.items() if value is not None}
        env = {
            name: self._here(value, service, host)
            for name, value in (compose_file.image_environment() | given).items()
        }
        env |= {name: value for name, value in self._own.items() if name in given}
        env["PATH"] = f"{Path(sys.executable).parent}:{os.defpath}"
        if "LD_LIBRARY_PATH" in os.environ:
            env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        return env

    def _argv(self, service: str, host: str, command: list[str]) -> list[str]:
        ports = {
            "5555": self._own["FLOWER_PORT"],
            "--port=5555": f"--port={self._own['FLOWER_PORT']}",
        }
        command = [self._here(ports.get(word, word), service, host) for word in command]
        return [BUBBLEWRAP, *self._box(host, service), *command] if self.shut_in else command

    def _here(self, text: str, service: str, host: str) -> str:
        """Without a box, the places of the image are folders, and its host name a word."""
        if self.shut_in:
            return text
        places = {volume["target"]: self._volume(volume) for volume in self._volumes(service)}
        places |= {"/app": self.app, "/tmp": self._folder / "tmp" / host}
        for inside, outside in places.items():
            if text.startswith(inside):
                return f"{outside}{text.removeprefix(inside)}"
        return text.replace("@%h", f"@{host}")

    def _box(self, host: str, service: str) -> list[str]:
        user, _, group = self._services[service]["user"].partition(":")
        words = ["--unshare-user", "--uid", user, "--gid", group]
        words += ["--unshare-uts", "--hostname", host, "--unshare-ipc", "--unshare-pid"]
        words += ["--cap-drop", "ALL", "--die-with-parent"]
        for entry in sorted(Path("/").iterdir()):
            if entry.is_symlink():
                words += ["--symlink", str(entry.readlink()), str(entry)]
            elif entry.is_dir() and entry.name not in NOT_OURS:
                words += ["--ro-bind", str(entry), str(entry)]
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
        for folder in (sys.base_prefix, sys.prefix, *filter(None, libraries)):
            words += ["--ro-bind", str(Path(folder).resolve()), folder]
        words += ["--ro-bind", str(self.app), "/app"]
        for volume in self._volumes(service):
            mode = "--ro-bind" if volume.get("read_only") else "--bind"
            words += [mode, str(self._volume(volume)), volume["target"]]
        return [*words, "--remount-ro", "/", "--chdir", "/app", "--"]

    def _volumes(self, service: str) -> list[dict[str, Any]]:
        return list(self._services[service].get("volumes", ()))

    def _volume(self, volume: Mapping[str, Any]) -> Path:
        return self._folder / "volumes" / str(volume["source"])
