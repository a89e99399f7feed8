"""Fixtures for all tests: temporary PostgreSQL and Redis servers, and the service built on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from local.servers import temporary
from local.servers.temporary import Server
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.monitoring.database_collector import DatabaseCollector
from shared.registry.store import Registry
from shared.services import Services
from shared.services import build as build_services
from shared.settings import Settings
from tests.support import registry_writer, skipped
from tests.support.api import TOKENS, create_app


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Record what this run skipped; `make test` prints it after its last run."""
    skipped.record(terminalreporter.getreports("skipped"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A temporary PostgreSQL server, one a test run."""
    with temporary.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A temporary Redis server, one a test run."""
    with temporary.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Server) -> str:
    return postgres_server.url


@pytest.fixture(scope="session")
def redis_url(redis_server: Server) -> str:
    return redis_server.url


@pytest.fixture(scope="session")
def environment(
    postgres_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Environment variables of a service process that uses the servers of this run."""
    return {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "ML_REGISTRY_DIR": str(tmp_path_factory.mktemp("registry")),
        "API_AUTH": "off",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session", autouse=True)
def _set_environment(environment: dict[str, str]) -> None:
    """Set them in this process too: the Celery configuration reads them at its first use."""
    os.environ.update(environment)


@pytest.fixture(scope="session", autouse=True)
def _give_first_scrape_more_time() -> None:
    """On a busy machine the first read of the tables can take longer than a scrape may wait."""
    DatabaseCollector.FIRST_TIMEOUT_S = 60.0


@pytest.fixture
def settings(environment: dict[str, str], tmp_path: Path) -> Settings:
    """The settings of this run, with an empty registry for each test."""
    return Settings.from_env({**environment, "ML_REGISTRY_DIR": str(tmp_path / "registry")})


@pytest.fixture(scope="session")
def engine(settings_url: str) -> Iterator[Engine]:
    """An engine on a real database, migrated as in production; one a test run."""
    engine = make_engine(settings_url, pool_size=20)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def settings_url(environment: dict[str, str]) -> str:
    """The database URL, with the driver that the settings choose."""
    return Settings.from_env(environment).database_url


@pytest.fixture
def clean(engine: Engine) -> None:
    """Empty all tables."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "TRUNCATE transactions, transaction_labels, ml_features, jobs, rule_sets, "
                "merchant_priors, suggestions, suggestion_answers, rollout_changes, heartbeats, "
                "drift_reports, imports, deletions "
                "RESTART IDENTITY CASCADE"
            )
        )


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder in memory if possible: some tests wait for thousands of syncs."""
    with registry_writer.a_disk() as folder:
        yield folder


@pytest.fixture
def root(disk: Path) -> Path:
    return disk / "registry"


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(root)


@pytest.fixture
def services(settings: Settings, clean: None) -> Iterator[Services]:
    """The services of a web process, with empty tables and an empty registry."""
    services = build_services(settings)
    yield services
    services.close()


@pytest.fixture
def client(services: Services) -> FlaskClient:
    """A test client of an API that needs no token."""
    return create_app(services).test_client()


@pytest.fixture
def token_client(services: Services) -> FlaskClient:
    """A test client of an API that needs tokens (`TOKENS`)."""
    settings = replace(services.settings, api_auth=True, api_tokens=TOKENS)
    return create_app(replace(services, settings=settings)).test_client()
