"""Clean-up of the worker's event loop after a lost connection to Redis."""

from __future__ import annotations

from typing import Any

from celery import bootsteps


class DropLostCallbacks(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Removes the callbacks of a lost connection, which kombu leaves behind (celery/kombu#2492).

    They would be called at each turn of the event loop, and hold the connection's memory.
    """

    requires = ("celery.worker.consumer:Connection",)

    def stop(self, consumer: Any) -> None:
        """Run after a lost connection, which is None then, and at the worker's end."""
        if consumer.hub and consumer.connection is None:
            # The pool's callback stays: it is added only once.
            consumer.hub.on_tick -= {
                callback
                for callback in consumer.hub.on_tick
                if callback.__module__ == "kombu.transport.redis"
            }
