"""The real server, `python -m web`, with tokens and a model: started once for all attacks on it."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import psutil
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.registry.store import Registry
from shared.settings import Settings
from tests.support.api import TOKENS, deploy_a_model
from tests.system.conftest import database, migrated, stack  # noqa: F401
from tests.system.stack import Stack


class Live(Stack):
    """A web server of its own, and what it takes of the machine."""

    process: subprocess.Popen[bytes]

    def begin(self) -> None:
        self.process = self.web()

    def memory(self) -> int:
        """Bytes of all its processes, what they share counted once, as a container's limit does."""
        whole = [psutil.Process(self.process.pid)]
        whole += whole[0].children(recursive=True)
        return sum(process.memory_full_info().pss for process in whole)

    def broken(self) -> list[str]:
        """Lines of the log that tell of a fault of the service's own."""
        return [line for line in self.log("web").splitlines() if "request.broke" in line]


@pytest.fixture(scope="session")
def live(
    environment: dict[str, str], engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """Two processes of four threads, as it is deployed."""
    name = f"attacked_{secrets.token_hex(4)}"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    folder = tmp_path_factory.mktemp("attacked")
    url = make_url(environment["DATABASE_URL"]).set(database=name)
    own = {
        **environment,
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "ML_REGISTRY_DIR": str(folder / "registry"),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "API_AUTH": "on",
        "MALLOC_ARENA_MAX": "1",  # as the image and the local stack set it
        "API_TOKENS": ",".join(f"{token.scope}:{token.secret}" for token in TOKENS),
    }
    own_engine = make_engine(Settings.from_env(own).database_url)
    migrate(own_engine)
    deploy_a_model(own_engine, Registry(Settings.from_env(own).registry_dir))
    own_engine.dispose()
    server = Live(own, folder)
    server.begin()
    yield server
    server.close()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
