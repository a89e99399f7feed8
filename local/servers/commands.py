"""Commands, addresses, passwords and ports of PostgreSQL and Redis (Valkey) from wheels.

Both listen on 127.0.0.1 only and require a password. `local.servers.temporary` runs them for tests,
`local.stack` for the local stack.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import redis

from local.servers import binaries
from local.servers.binaries import Identity

USER = DATABASE = "ledger"
PORTS_TRIED = 20
TEMPORARY = "ledger-servers-"  # prefix of temporary files and folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How to run one server, and as which user."""

    argv: list[str]
    env: dict[str, str]
    identity: Identity
    stop_signal: int
    data: Path


def postgres_url(port: int, password: str) -> str:
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def valkey_url(port: int, password: str) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"


def postgres_command(data: Path, port: int, password: str, *, durable: bool) -> Command:
    """Make the cluster if *data* has none; return how to run it.

    Not *durable* is several times faster and loses data when the machine crashes, not before.
    """
    programs = binaries.postgres_programs()
    identity = binaries.postgres_identity()
    data = binaries.postgres_data_folder(data)
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    if not (data / "PG_VERSION").exists():
        _make_cluster(programs, data, password, env, identity, durable=durable)
    settings = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "100",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # A failed statement contains users' data, so it is not logged.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    if not durable:
        # Commits still survive a crash of the server, but not of the machine.
        settings |= {"fsync": "off", "full_page_writes": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Command(
        argv=[str(programs / "postgres"), "-D", str(data), *options],
        env=env,
        identity=identity,
        stop_signal=signal.SIGINT,  # "fast": ends the sessions, then shuts down in order
        data=data,
    )


def valkey_command(data: Path, port: int, password: str) -> Command:
    """Write the configuration beside *data*; return how to run it."""
    data = data.absolute()
    data.mkdir(parents=True, exist_ok=True)
    config = data.parent / "valkey.conf"
    quoted = str(data).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f'dir "{quoted}"',
        f"requirepass {password}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",  # a broker never evicts
        "set-proc-title no",  # keeps the folder in the command line, by which leftovers are found
        "always-show-logo no",
    ]
    write_secret(config, "\n".join(lines) + "\n")
    return Command(
        argv=[str(binaries.valkey_server()), str(config)],
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        identity={},
        stop_signal=signal.SIGTERM,
        data=data,
    )


def postgres_ready(url: str) -> bool:
    """Return whether the server answers; make the database at the first answer."""
    try:
        with contextlib.closing(psycopg2.connect(url, connect_timeout=2)):
            return True
    except psycopg2.OperationalError as error:
        if f'database "{DATABASE}" does not exist' not in str(error):
            return False
    with contextlib.closing(
        psycopg2.connect(url, connect_timeout=2, dbname="postgres")
    ) as connection:
        connection.autocommit = True
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(f'CREATE DATABASE "{DATABASE}"')
    return True


def valkey_ready(url: str) -> bool:
    """Return whether the server answers and has loaded its data."""
    try:
        with contextlib.closing(redis.Redis.from_url(url, socket_timeout=2)) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def free_port(preferred: int = 0) -> int:
    """Return a port that is free on IPv4 and IPv6: *preferred*, or one near it."""
    for port in range(preferred, preferred + PORTS_TRIED) if preferred else ():
        if not _taken(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def password_in(path: Path) -> str:
    """Return the password in this file; the first call makes it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_secret(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def write_secret(path: Path, text: str) -> None:
    """Write a file atomically that only its owner can ever read."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(draft).replace(path)


def last_lines(path: Path, count: int = 20) -> str:
    """Return the end of a log file, or an empty text."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _make_cluster(
    programs: Path,
    data: Path,
    password: str,
    env: dict[str, str],
    identity: Identity,
    *,
    durable: bool,
) -> None:
    """Run initdb in a draft folder and rename it, so that a failure leaves no half cluster."""
    draft = data.with_name(data.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    # The user of initdb must be able to read this file; it lies outside the cluster.
    handle, name = tempfile.mkstemp(dir=binaries.temporary_root(), prefix=TEMPORARY)
    password_file = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(password)
        if identity:
            os.chown(draft, identity["user"], identity["group"])
            os.chown(password_file, identity["user"], identity["group"])
        argv: list[str | Path] = [
            *(programs / "initdb", "-D", draft, "-U", USER, "--auth=scram-sha-256"),
            *(f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C"),
            # The built-in provider sorts and folds the same on every system.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
            *([] if durable else ["--no-sync"]),
        ]
        result = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, **identity)
    finally:
        password_file.unlink()
    if result.returncode:
        raise RuntimeError(f"initdb failed: {result.stderr.strip() or result.stdout.strip()}")
    data.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(data)


def _taken(port: int) -> bool:
    if port > 65535:
        return True
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with contextlib.suppress(OSError), socket.socket(family) as probe:
            probe.settimeout(0.5)
            if probe.connect_ex((address, port)) == 0:
                return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
