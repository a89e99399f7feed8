"""Servers that a scene may kill, and a service of real processes around them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import URL, Connection, Engine, make_url, text

from local.servers import temporary
from local.servers.temporary import Server
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.model.classifier import Model
from shared.settings import Settings
from tests.chaos import report
from tests.chaos.world import World, known_versions, live, registry_of, two_models
from tests.support.waiting import wait_until
from tests.system.stack import Stack


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[Server]:
    with temporary.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def own_redis() -> Iterator[Server]:
    with temporary.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def template(environment: dict[str, str], own_postgres: Server) -> Template:
    """A database with transactions and labels, to be copied, and two models trained on them."""
    address = {**environment, "DATABASE_URL": own_postgres.url}
    template = Template(make_url(Settings.from_env(address).database_url), "chaos_template")
    with template.created("template0") as engine:
        migrate(engine)
        with engine.begin() as connection:
            connection.execute(text(NOTE_ENDS))
        return template._replace(models=two_models(engine))


@pytest.fixture
def world(own_redis: Server, make_world: Callable[[str], Iterator[World]]) -> Iterator[World]:
    """A web process that answers with the first of two versions; workers are for the scene."""
    yield from make_world(own_redis.url)


@pytest.fixture
def make_world(
    environment: dict[str, str],
    own_postgres: Server,
    own_redis: Server,
    template: Template,
    tmp_path: Path,
) -> Callable[[str], Iterator[World]]:
    """The same, with Redis at the address that is given."""
    return lambda url: _world(environment, own_postgres, own_redis, template, tmp_path, url)


# What ends twice ends the second time as it did the first, more often than not: no look at the row
# could tell.
NOTE_ENDS = """
CREATE TABLE job_ends (number bigint GENERATED ALWAYS AS IDENTITY, job_id text, state text);
CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_ends (job_id, state) VALUES (NEW.id, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER note_end AFTER UPDATE OF state, attempt, result, error, finished_at ON jobs
FOR EACH ROW WHEN (
    OLD.finished_at IS NOT NULL OR NEW.state IN ('succeeded', 'failed', 'cancelled')
) EXECUTE FUNCTION note_end();
"""


class Template(NamedTuple):
    """What the databases of all scenes begin with."""

    server: URL
    name: str
    models: tuple[Model, ...] = ()

    @contextmanager
    def created(self, source: str) -> Iterator[Engine]:
        """The database `name`, a copy of *source*."""
        with self._admin() as connection:
            connection.execute(text(f"CREATE DATABASE {self.name} TEMPLATE {source}"))
        engine = make_engine(self.url)
        try:
            yield engine
        finally:
            engine.dispose()

    def dropped(self) -> None:
        with self._admin() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)"))

    @property
    def url(self) -> str:
        return self.server.set(database=self.name).render_as_string(hide_password=False)

    @contextmanager
    def _admin(self) -> Iterator[Connection]:
        admin = make_engine(self.server.render_as_string(hide_password=False))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
        admin.dispose()


def _world(
    environment: dict[str, str],
    postgres: Server,
    redis: Server,
    template: Template,
    folder: Path,
    redis_url: str,
) -> Iterator[World]:
    database = template._replace(name=f"chaos_{secrets.token_hex(4)}")
    stack = Stack(
        {
            **environment,
            "DATABASE_URL": database.url,
            "REDIS_URL": redis_url,
            "ML_REGISTRY_DIR": str(folder / "registry"),
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        },
        folder,
    )
    try:
        with database.created(template.name) as engine:
            registry = registry_of(stack)
            known, files = known_versions(template.models, registry)
            registry.deploy(next(iter(files)), by="chaos", why="the first")
            stack.web()
            wait_until(live(stack), "a model is live")
            world = World(stack, engine, postgres, redis, registry, known, files)
            yield world
            assert world.unchecked == [], "a scene ends with its check"
    finally:
        stack.close()
        database.dropped()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not report.LINES:
        return
    terminalreporter.section(f"chaos, CHAOS_SEED={report.SEED}")
    terminalreporter.write_line(report.table(report.LINES))
    if report.IS_FULL:
        part = report.part_of(selection(config), report.LINES)
        if part is None:
            terminalreporter.write_line("Not all scenes, nor the soak alone: the page stays.")
        else:
            report.write(part, report.LINES)


def selection(config: pytest.Config) -> str:
    """What the run was narrowed to, if it was."""
    whole = Path(__file__).parent.resolve()
    named = [it for it in config.args if (config.invocation_params.dir / it).resolve() != whole]
    picked = (config.option.keyword, config.option.markexpr, *(config.option.deselect or ()))
    return " ".join(filter(None, (*named, *picked)))
