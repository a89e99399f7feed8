"""A stack of real processes for each test: a database and a registry of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.settings import Settings
from tests.system.stack import Stack


@pytest.fixture(scope="session")
def migrated(environment: dict[str, str], engine: Engine) -> str:
    """The name of an empty database at the newest schema, to be copied: that is fast."""
    name = f"migrated_{secrets.token_hex(4)}"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(Settings.from_env(environment).database_url).set(database=name)
    own = make_engine(url.render_as_string(hide_password=False))
    migrate(own)
    own.dispose()
    return name


@pytest.fixture
def stack(
    environment: dict[str, str], engine: Engine, migrated: str, tmp_path: Path
) -> Iterator[Stack]:
    """Nothing runs yet, on a database without rows; what the test starts ends with it."""
    name = f"stack_{secrets.token_hex(4)}"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {migrated}"))
    url = make_url(environment["DATABASE_URL"]).set(database=name)
    Redis.from_url(environment["REDIS_URL"]).flushall()
    own = Stack(
        {
            **environment,
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "ML_REGISTRY_DIR": str(tmp_path / "registry"),
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
        },
        tmp_path,
    )
    yield own
    own.close()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database(stack: Stack) -> Iterator[Engine]:
    """The stack's own database."""
    engine = make_engine(Settings.from_env(stack.env).database_url)
    yield engine
    engine.dispose()
