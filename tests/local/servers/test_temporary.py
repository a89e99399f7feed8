"""The servers that tests and the local stack run on: theirs alone, closed to others, never left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from local.servers import commands, temporary
from local.servers.temporary import Server, start_postgres, start_valkey
from local.stack import openmp
from local.stack.layout import ROOT

ABANDON = """
import os, signal, sys
from local.servers import temporary
with temporary.postgres() as database, temporary.valkey() as broker:
    print(database.pid, database.folder, broker.pid, broker.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL of this module, in a folder that is closed to others and has a blank in it."""
    folder = tmp_path_factory.mktemp("closed") / "with a blank"
    folder.parent.chmod(0o700)
    server = start_postgres(folder, lasting=False)
    yield server
    server.discard()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    server = start_valkey(tmp_path / "with a blank", lasting=False)
    yield server
    server.discard()


def execute(url: str, statement: str) -> object:
    with contextlib.closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None


def ends_soon(pid: int) -> bool:
    """Whether this process ends within a few seconds."""
    with contextlib.suppress(psutil.NoSuchProcess):
        _, alive = psutil.wait_procs([psutil.Process(pid)], timeout=15)
        return not alive
    return True


def test_postgres_works_from_a_closed_folder_whose_path_has_a_blank(database):
    """Root runs it as another user, who must still reach programs and data."""
    assert execute(database.url, "SELECT 1") == 1
    assert psutil.Process(database.pid).uids().real != 0


def test_postgres_and_redis_need_a_password(database, broker):
    without = database.url.replace(database.url.split("@")[0], "postgresql://ledger:wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(without, connect_timeout=5)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=broker.port).ping()


def test_the_servers_listen_on_loopback_and_nowhere_else(database, broker):
    listening = {
        connection.laddr.ip
        for server in (database, broker)
        for connection in psutil.Process(server.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }

    assert listening == {"127.0.0.1"}


def test_password_files_are_readable_by_their_owner_only(database, broker):
    for server in (database, broker):
        assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600
    config = broker.folder / "valkey.conf"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert (broker.folder / "password").read_text() not in " ".join(
        psutil.Process(broker.pid).cmdline()
    )


def test_a_server_that_was_killed_starts_again_with_its_data_and_address(database, broker):
    execute(database.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    redis.Redis.from_url(broker.url).set("kept", 42)
    redis.Redis.from_url(broker.url).execute_command("WAITAOF", 1, 0, 5000)
    before = database.url, broker.url

    for server in (database, broker):
        server.kill()
        server.start()

    assert (database.url, broker.url) == before
    assert execute(database.url, "SELECT answer FROM kept") == 42
    assert redis.Redis.from_url(broker.url).get("kept") == b"42"


def test_a_failed_statement_leaves_no_data_in_the_log(database):
    with pytest.raises(psycopg2.Error):
        execute(database.url, "SELECT 'Jane Doe, 12.50'::int")

    log = (database.folder / "server.log").read_text()
    assert "Jane Doe" not in log.partition("statement")[2]


def test_broker_never_evicts_and_persists_its_messages(broker):
    config = redis.Redis.from_url(broker.url, decode_responses=True).config_get()

    assert config["maxmemory-policy"] == "noeviction"
    assert config["appendonly"] == "yes"


def test_a_run_that_is_killed_leaves_no_server_and_no_data():
    run = subprocess.run(
        [sys.executable, "-c", ABANDON], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    database, database_folder, broker, broker_folder = run.stdout.split()

    assert run.returncode == -signal.SIGKILL
    for pid, folder in ((database, database_folder), (broker, broker_folder)):
        assert ends_soon(int(pid))
        assert removed(Path(folder))


def removed(folder: Path) -> bool:
    """The guard removes the folder as its last act: wait for the guard, then look."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(folder / "order.json") in process.cmdline():
                process.wait(60)
    return not folder.exists()


def test_leftovers_of_a_killed_run_are_removed_by_the_next(tmp_path):
    root = tmp_path / "temporary"
    abandoned = root / f"{commands.TEMPORARY}abandoned"
    script = (
        "import os, pathlib, signal, sys\n"
        "from local.servers.temporary import start_valkey\n"
        "server = start_valkey(pathlib.Path(sys.argv[1]), lasting=False)\n"
        "print(server.pid, flush=True)\n"
        "os.kill(server._watchdog.pid, signal.SIGKILL)\n"
        "server._watchdog.wait()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(abandoned)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    pid = int(run.stdout)
    assert psutil.pid_exists(pid)

    temporary.remove_leftovers(root)

    assert ends_soon(pid)
    assert not abandoned.exists()


def test_files_of_a_live_run_are_not_removed(tmp_path):
    server = start_valkey(tmp_path / f"{commands.TEMPORARY}in-use", lasting=False)

    temporary.remove_leftovers(tmp_path)
    server.stop()
    temporary.remove_leftovers(tmp_path)  # stopped, but its owner may start it again
    server.start()

    assert redis.Redis.from_url(server.url).ping()
    server.stop()


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0")],
    ids=["loopback", "every address"],
)
def test_taken_port_is_replaced_by_one_near_it(family, address):
    with socket.socket(family) as other:
        other.bind((address, 0))
        other.listen()
        taken = other.getsockname()[1]

        port = commands.free_port(taken)

    assert port != taken


def test_free_port_is_used():
    free = commands.free_port()

    assert commands.free_port(free) == free


@pytest.mark.parametrize(
    ("arguments", "output"),
    [((), "Which file?"), (("CSV=~/none.csv",), "~/none.csv cannot be read")],
)
def test_an_import_without_its_file_starts_nothing(arguments, output):
    # `make test` tells a make below it things that this one is not to know.
    theirs = ("MAKELEVEL", "MAKEFLAGS", "MFLAGS", "CSV")
    done = subprocess.run(
        ["make", "import", "PYTHON=false", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in theirs},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(output)


def test_a_server_that_cannot_start_says_why(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))

        with pytest.raises(RuntimeError, match="Address already in use"):
            start_valkey(tmp_path / "valkey", port=other.getsockname()[1])


def test_openmp_is_found_with_or_without_the_systems_own(tmp_path, monkeypatch):
    """On a machine without libgomp, LightGBM gets the copy that scikit-learn brings along."""
    monkeypatch.setattr(openmp, "OPENMP", "libgomp-that-nobody-has.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")

    path = openmp.library_path(tmp_path / "native")

    folder, _, rest = path.partition(":")
    assert rest == "/somewhere"
    script = "import ctypes; ctypes.CDLL('libgomp-that-nobody-has.so.1')"
    found = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "LD_LIBRARY_PATH": folder}
    )
    assert found.returncode == 0
