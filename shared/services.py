"""The composition root: what one process holds, built once in it and after any fork."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from shared import metrics_ml
from shared.challenger import Challengers
from shared.db import make_engine
from shared.publisher import Messenger
from shared.registry import Registry
from shared.runtime import Runtime
from shared.settings import Settings

WEB = "ledger web"  # what a web process calls itself to PostgreSQL


@dataclass(frozen=True, slots=True)
class Services:
    """Handed on as an argument; tests pass another one instead of patching."""

    settings: Settings
    engine: Engine
    messenger: Messenger
    registry: Registry
    runtime: Runtime
    challengers: Challengers

    def close(self) -> None:
        """Let go of threads and connections."""
        self.runtime.stop()
        self.challengers.stop()
        self.messenger.close()
        self.engine.dispose()


def build(settings: Settings, *, application: str = "ledger", connections: int = 10) -> Services:
    """Nothing is connected or loaded yet.

    Args:
        application: names the process to PostgreSQL.
        connections: at most so many at once.
    """
    engine = make_engine(
        settings.database_url, pool_size=connections, spare=0, application=application
    )
    registry = Registry(settings.registry_dir)
    process = "web" if application == WEB else "worker"
    runtime = Runtime(
        registry,
        on_reload=lambda outcome: metrics_ml.model_followed(process, outcome, runtime.held),
    )
    return Services(
        settings=settings,
        engine=engine,
        messenger=Messenger(engine),
        registry=registry,
        runtime=runtime,
        challengers=Challengers(registry, on_load=metrics_ml.challenger_loaded),
    )
