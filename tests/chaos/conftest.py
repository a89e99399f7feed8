"""Servers that a scene may kill, and a service of real processes around them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from local import servers
from local.servers import Server
from shared.db import make_engine, migrate
from shared.settings import Settings
from tests.chaos import report
from tests.chaos.world import World, known_versions, live, registry_of
from tests.system.stack import Stack, until


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[Server]:
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def own_redis() -> Iterator[Server]:
    with servers.valkey() as server:
        yield server


@pytest.fixture
def world(
    environment: dict[str, str], own_postgres: Server, own_redis: Server, tmp_path: Path
) -> Iterator[World]:
    """A web process that answers with the first of two versions; workers are for the scene."""
    yield from _world(environment, own_postgres, own_redis, tmp_path, own_redis.url)


@pytest.fixture
def world_behind(
    environment: dict[str, str], own_postgres: Server, own_redis: Server, tmp_path: Path
) -> Callable[[str], Iterator[World]]:
    """The same, with Redis at another address."""
    return lambda url: _world(environment, own_postgres, own_redis, tmp_path, url)


def _world(
    environment: dict[str, str], postgres: Server, redis: Server, folder: Path, redis_url: str
) -> Iterator[World]:
    name = f"chaos_{secrets.token_hex(4)}"
    server = Settings.from_env({**environment, "DATABASE_URL": postgres.url}).database_url
    admin = make_engine(server)
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    stack = Stack(
        {
            **environment,
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "ML_REGISTRY_DIR": str(folder / "registry"),
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        },
        folder,
    )
    engine = make_engine(url)
    try:
        migrate(engine)
        registry = registry_of(stack)
        known, files = known_versions(engine, registry)
        registry.deploy(next(iter(files)), by="chaos", why="the first")
        stack.web()
        until(live(stack), "a model is live")
        yield World(stack, engine, postgres, redis, registry, known, files)
    finally:
        stack.close()
        engine.dispose()
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        admin.dispose()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if report.LINES:
        terminalreporter.section(f"chaos, CHAOS_SEED={report.SEED}")
        terminalreporter.write_line(report.table())
        if report.IS_FULL:
            report.write()
