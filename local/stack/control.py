"""The whole service on one machine: `python -m local.stack up|down|status|logs|env|run`.

PostgreSQL, Redis, web, workers, beat and Flower run in the background under supervisord, on
loopback, with all their data under `var/`. DATABASE_URL and REDIS_URL, when set, name servers to
use instead.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from local.servers import commands
from local.servers.binaries import ServersMissing
from local.stack import configuration, supervisor
from local.stack.configuration import State
from local.stack.layout import LOG, ROOT, RUN, SECRETS, STATE, VAR, StackError, make_folders
from local.stack.supervisor import Process

SERVERS_TIMEOUT_S = 60  # a large database that crashed needs a while to recover
MIGRATE_TIMEOUT_S = 300
APP_TIMEOUT_S = 90
DOWN_TIMEOUT_S = 60
PROGRESS_EVERY_S = 5


def up() -> State:
    """Start the stack, unless it runs with the current settings and code.

    Raises:
        StackError: a process did not start; the message names it and ends with its log.
    """
    make_folders()
    with _lock():
        state = State.load()
        if state and (fault := _find_fault(state)) is None:
            show(f"The stack is up: {state.web_url}")
            return state
        if state and supervisor.processes(state) is not None:
            show(f"Restarting the stack: {fault}.")
        _stop_all(state)
        return _start()


def down() -> None:
    """Stop every process of the stack; the data stay."""
    make_folders()
    with _lock():
        state = State.load()
        ended = _stop_all(state)
        show("The stack is down; its data are kept." if ended else "The stack was not running.")


def find_running() -> State | None:
    """Return the running stack, or None."""
    state = State.load()
    return state if state and supervisor.processes(state) is not None else None


def status() -> bool:
    """Print a line for each process; return whether all of them work."""
    state = State.load()
    processes = supervisor.processes(state) if state else None
    if state is None or processes is None:
        show("The stack is not running: make up")
        return False
    where = {
        "postgres": (state.postgres_port, ""),
        "redis": (state.redis_port, ""),
        "web": (state.web_port, f"{state.web_url}/docs"),
        "flower": (state.flower_port, state.flower_url),
    }
    print(f"{'process':<16}{'state':<10}{'pid':>8}{'port':>7}{'up for':>11}  address")
    for process in sorted(processes, key=lambda process: process.name not in ("postgres", "redis")):
        port, url = where.get(process.name, (None, ""))
        print(
            f"{process.name:<16}{process.state.lower():<10}{process.pid or '-':>8}"
            f"{port or '-':>7}{_duration(process.since_s):>11}  {url}".rstrip()
        )
    for name, variable in (("postgres", "DATABASE_URL"), ("redis", "REDIS_URL")):
        if where[name][0] is None:
            print(f"{name:<16}{'yours':<10}{'-':>8}{'-':>7}{'-':>11}  {variable}")
    return _running(state) and _answers(f"{state.web_url}/healthz")


def logs(names: list[str], lines: int, *, follow: bool) -> None:
    """Print the last *lines* of each process's log; *follow* prints new ones, too."""
    files = sorted(LOG.glob("*.log"))
    if names:
        files = [LOG / f"{name}.log" for name in names]
    if missing := [path.stem for path in files if not path.exists()]:
        raise StackError(f"no log of {', '.join(missing)} in {LOG}")
    if follow:
        command = ["tail", "-n", str(lines), "-F", *map(str, files)]
        os.execvp("tail", command)
    for path in files:
        print(f"==> {path.stem}\n{commands.last_lines(path, lines)}\n")


def environment(state: State) -> dict[str, str]:
    """Return the environment of a command of this stack, BASE_URL included."""
    return configuration.environment(state) | {"BASE_URL": state.web_url}


def show(text: str) -> None:
    """Print a line at once; a closed pipe (`| head`) does not stop the work."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _start() -> State:
    began = time.monotonic()
    show("Starting PostgreSQL and Redis.")
    state = configuration.new_state(supervisor.new_socket())
    for line in configuration.moved_ports(state):
        show(f"  {line}")
    state.save()
    configuration.reset_metrics_folder()
    try:
        supervisor.start(state)
        _wait("PostgreSQL and Redis", SERVERS_TIMEOUT_S, lambda: _servers_ready(state), state)
        _migrate(state)
        show("Starting web, workers, beat and Flower.")
        supervisor.start_app(state)
        _wait("the service", APP_TIMEOUT_S, lambda: _app_ready(state), state)
    except BaseException:
        show("Starting failed; ending what was started.")
        _stop_all(state)
        raise
    for name, folder in configuration.data_outside_var().items():
        show(f"  {name} keeps its data in {folder}: its user cannot pass to {VAR}")
    show(f"The stack is up after {time.monotonic() - began:.0f} s: {state.web_url}")
    return state


def _servers_ready(state: State) -> bool:
    env = configuration.environment(state)
    return (state.postgres_port is None or commands.postgres_ready(env["DATABASE_URL"])) and (
        state.redis_port is None or commands.valkey_ready(env["REDIS_URL"])
    )


def _app_ready(state: State) -> bool:
    """Return whether all parts work, at the start and at the end of the checks."""
    return (
        _running(state)
        and _answers(f"{state.web_url}/healthz")
        and _answers(f"{state.flower_url}/healthcheck")
        and _workers_answer(state)
        and _running(state)
    )


def _find_fault(state: State) -> str | None:
    """Return why the stack must be restarted; None if it need not."""
    processes = supervisor.processes(state)
    if processes is None:
        return "it is not running"
    if down := [p.name for p in processes if p.state not in ("RUNNING", "STARTING")]:
        return f"{', '.join(down)} not running"
    if state.fingerprint != configuration.fingerprint():
        return "the settings or the code have changed"
    try:
        _wait("the service", 20, lambda: _app_ready(state), state)
    except StackError:
        return "it does not answer"
    return None


def _wait(what: str, timeout_s: float, ready: Callable[[], bool], state: State) -> None:
    """Wait until *ready*, with a line every PROGRESS_EVERY_S.

    Raises:
        StackError: a process does not start, or the time is over.
    """
    began = shown = time.monotonic()
    while not ready():
        now = time.monotonic()
        processes = supervisor.processes(state)
        if processes is None:
            tail = commands.last_lines(LOG / "supervisord.log")
            raise StackError(f"supervisord has ended:\n{tail}")
        failing = [p for p in processes if p.state in ("FATAL", "BACKOFF", "EXITED")]
        if fatal := [p for p in failing if p.state == "FATAL"]:
            raise StackError(_describe_failures(fatal))
        if now - began > timeout_s:
            raise StackError(
                f"{what} did not answer within {timeout_s:.0f} s.\n{_describe_failures(failing)}"
            )
        if now - shown > PROGRESS_EVERY_S:
            shown = now
            names = f" ({', '.join(p.name for p in failing)} restarting)" if failing else ""
            show(f"  waiting for {what}, {now - began:.0f} s{names}")
        time.sleep(0.1)


def _describe_failures(processes: list[Process]) -> str:
    return "\n".join(
        f"{process.name} does not run; the end of {LOG / process.name}.log:\n"
        f"{commands.last_lines(LOG / f'{process.name}.log')}"
        for process in processes
    )


def _migrate(state: State) -> None:
    show("Bringing the schema up to date.")
    log = LOG / "migrate.log"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "shared.db", "migrate"],
            cwd=ROOT,
            env=configuration.environment(state),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        began = time.monotonic()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(PROGRESS_EVERY_S)
                break
            if time.monotonic() - began > MIGRATE_TIMEOUT_S:
                running.kill()
            show(f"  migrating, {time.monotonic() - began:.0f} s")
    if running.returncode:
        raise StackError(f"the migration failed:\n{commands.last_lines(log)}")


def _stop_all(state: State | None) -> bool:
    """Stop supervisord and any process of this stack; return whether there was one."""
    ended = False
    if state and supervisor.shut_down(state):
        ended = True
        show("Ending the processes; what is at work has 10 s to finish.")
        began = printed_at = time.monotonic()
        # supervisord answers nothing any more, but it ends as the last.
        while left := supervisor.find_leftovers():
            now = time.monotonic()
            if now - began > DOWN_TIMEOUT_S:
                break
            if now - printed_at > PROGRESS_EVERY_S:
                printed_at = now
                show(f"  waiting for {supervisor.describe_processes(left)}, {now - began:.0f} s")
            time.sleep(0.2)
    # Processes that supervisord has lost, or that survived its crash.
    for _ in range(3):
        if left := supervisor.find_leftovers():
            ended = True
            show(f"Ending what is left: {supervisor.describe_processes(left)}.")
            supervisor.stop_processes(left)
    if state:
        supervisor.remove_socket(state)
        STATE.unlink(missing_ok=True)
    return ended


def _running(state: State) -> bool:
    processes = supervisor.processes(state) or []
    return bool(processes) and all(process.state == "RUNNING" for process in processes)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _workers_answer(state: State) -> bool:
    """Return whether a worker of each queue answers a ping through the broker."""
    ping = [sys.executable, "-m", "celery", "-A", "shared.jobs.broker:celery", "inspect", "ping"]
    try:
        done = subprocess.run(
            [*ping, "--timeout", "1", "--json"],
            cwd=ROOT,
            env=configuration.environment(state),
            capture_output=True,
            text=True,
            timeout=20,
        )
    except subprocess.TimeoutExpired:
        return False
    return all(f'"{worker}@' in done.stdout for worker in ("features", "training"))


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    with (RUN / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            show("Another 'up' or 'down' is at work; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _duration(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.stack")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="start everything, or leave it as it is")
    verbs.add_parser("down", help="end everything; the data are kept")
    verbs.add_parser("status", help="a line for each process")
    logs_parser = verbs.add_parser("logs", help="the end of the logs, of all processes or of some")
    logs_parser.add_argument("names", nargs="*")
    logs_parser.add_argument("-n", "--lines", type=int, default=30)
    logs_parser.add_argument("-f", "--follow", action="store_true")
    verbs.add_parser("env", help="the environment, passwords included, as lines for a shell")
    run_parser = verbs.add_parser("run", help="run a command in that environment; starts the stack")
    run_parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    args = _parse_arguments(argv)
    try:
        match args.verb:
            case "up":
                print_urls(up())
            case "down":
                down()
            case "status":
                return 0 if status() else 1
            case "logs":
                logs(args.names, args.lines, follow=args.follow)
            case "env":
                state = find_running()
                if state is None:
                    raise StackError("the stack is not running: make up")
                for name, value in environment(state).items():
                    if os.environ.get(name) != value:
                        print(f"export {name}={shlex.quote(value)}")
            case "run":
                state = find_running() or up()
                command = args.command[args.command[:1] == ["--"] :]
                os.execvpe(command[0], command, environment(state))
    except (StackError, ServersMissing, RuntimeError) as error:
        print(f"local.stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def print_urls(state: State) -> None:
    """Print the addresses of the stack."""
    secret = SECRETS / "flower"
    with contextlib.suppress(ValueError):
        secret = Path(os.path.relpath(secret))
    print(f"  dashboard  {state.web_url}/")
    print(f"  API        {state.web_url}/docs")
    print(f"  metrics    {state.web_url}/metrics")
    print(
        f"  Flower     {state.flower_url}  user {configuration.FLOWER_USER}, password in {secret}"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
