"""The composition root: engine, registry, models and publisher of a process, built after a fork."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from shared.db.engine import make_engine
from shared.jobs.publisher import Messenger
from shared.monitoring import metrics
from shared.registry.challenger import Challengers
from shared.registry.live_model import Runtime
from shared.registry.store import Registry
from shared.settings import Settings

WEB = "ledger web"  # what a web process calls itself to PostgreSQL


@dataclass(frozen=True, slots=True)
class Services:
    """What a process holds. It is passed as an argument; tests pass another one."""

    settings: Settings
    engine: Engine
    messenger: Messenger
    registry: Registry
    runtime: Runtime
    challengers: Challengers

    def close(self) -> None:
        """End the threads and close the connections."""
        self.runtime.stop()
        self.challengers.stop()
        self.messenger.close()
        self.engine.dispose()


def build(settings: Settings, *, application: str = "ledger", connections: int = 10) -> Services:
    """Build the services; nothing is connected or loaded yet.

    Args:
        application: the name of the process in PostgreSQL.
        connections: the size of the pool.
    """
    engine = make_engine(
        settings.database_url, pool_size=connections, spare=0, application=application
    )
    registry = Registry(settings.registry_dir)
    process = "web" if application == WEB else "worker"
    runtime = Runtime(
        registry,
        on_reload=lambda outcome: metrics.model_followed(process, outcome, runtime.held),
    )
    return Services(
        settings=settings,
        engine=engine,
        messenger=Messenger(engine),
        registry=registry,
        runtime=runtime,
        challengers=Challengers(registry, on_load=metrics.challenger_loaded),
    )
