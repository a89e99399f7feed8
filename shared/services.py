"""The composition root: engine, registry, models and publisher of a process, built after a fork."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from shared.db.engine import make_engine
from shared.jobs.publisher import JobPublisher
from shared.monitoring import metrics
from shared.registry.challenger import ChallengerModel
from shared.registry.live_model import LiveModel
from shared.registry.store import Registry
from shared.settings import Settings

WEB = "ledger web"  # application name of a web process in PostgreSQL


@dataclass(frozen=True, slots=True)
class Services:
    """The resources of a process, passed as an argument; tests pass other ones."""

    settings: Settings
    engine: Engine
    publisher: JobPublisher
    registry: Registry
    live_model: LiveModel
    challenger: ChallengerModel

    def close(self) -> None:
        """End the threads and close the connections."""
        self.live_model.stop()
        self.challenger.stop()
        self.publisher.close()
        self.engine.dispose()


def build(settings: Settings, *, application: str = "ledger", connections: int = 10) -> Services:
    """Build the services; nothing is connected or loaded yet.

    Args:
        application: the name of the process in PostgreSQL.
        connections: the size of the pool.
    """
    engine = make_engine(
        settings.database_url, pool_size=connections, max_overflow=0, application=application
    )
    registry = Registry(settings.registry_dir)
    process = "web" if application == WEB else "worker"
    live_model = LiveModel(
        registry,
        on_reload=lambda outcome: metrics.record_reload(process, outcome, live_model.loaded),
    )
    return Services(
        settings=settings,
        engine=engine,
        publisher=JobPublisher(engine),
        registry=registry,
        live_model=live_model,
        challenger=ChallengerModel(registry, on_load=metrics.count_challenger_load),
    )
