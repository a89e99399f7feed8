"""Real servers for the whole run: PostgreSQL and Redis of the tests' own, gone when they end."""

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
from shared import services
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.monitoring.database_collector import DatabaseCollector
from shared.registry.store import Registry
from shared.services import Services
from shared.settings import Settings
from tests.support import registry_writer, skipped
from tests.support.api import TOKENS, create_app


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Record what this run skipped; `make test` prints it after its last run."""
    skipped.record(terminalreporter.getreports("skipped"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server that belongs to this run alone."""
    with temporary.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A Redis server that belongs to this run alone."""
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
    """What a process of the service reads from its environment, for the servers of this run."""
    return {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "ML_REGISTRY_DIR": str(tmp_path_factory.mktemp("registry")),
        "API_AUTH": "off",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session", autouse=True)
def _this_process_too(environment: dict[str, str]) -> None:
    """The Celery configuration reads the environment when it is first asked for a setting."""
    os.environ.update(environment)


@pytest.fixture(scope="session", autouse=True)
def _the_first_scrape_has_time() -> None:
    """On a busy machine the first read of the tables can take longer than a scrape may wait."""
    DatabaseCollector.FIRST_TIMEOUT_S = 60.0


@pytest.fixture
def settings(environment: dict[str, str], tmp_path: Path) -> Settings:
    """The settings of this run, with a registry of the test's own."""
    return Settings.from_env({**environment, "ML_REGISTRY_DIR": str(tmp_path / "registry")})


@pytest.fixture(scope="session")
def engine(settings_url: str) -> Iterator[Engine]:
    """One real database for the run, brought to head by the same migrations as production."""
    engine = make_engine(settings_url, pool_size=20)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def settings_url(environment: dict[str, str]) -> str:
    """The database's address as the settings make it."""
    return Settings.from_env(environment).database_url


@pytest.fixture
def clean(engine: Engine) -> None:
    """Empty tables, whatever a test before has left."""
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
    """A folder on the fastest disk there is; thousands of syncs are waited for."""
    with registry_writer.a_disk() as folder:
        yield folder


@pytest.fixture
def root(disk: Path) -> Path:
    return disk / "registry"


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(root)


@pytest.fixture
def held(settings: Settings, clean: None) -> Iterator[Services]:
    """What a web process holds, with empty tables and an empty registry."""
    held = services.build(settings)
    yield held
    held.close()


@pytest.fixture
def client(held: Services) -> FlaskClient:
    """Everybody may call everything."""
    return create_app(held).test_client()


@pytest.fixture
def guarded(held: Services) -> FlaskClient:
    """Tokens are needed."""
    settings = replace(held.settings, api_auth=True, api_tokens=TOKENS)
    return create_app(replace(held, settings=settings)).test_client()
