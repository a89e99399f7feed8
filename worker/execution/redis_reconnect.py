"""Clean-up in the worker's event loop after it has lost its connection to Redis."""

from __future__ import annotations

from typing import Any

from celery import bootsteps


class DropLostCallbacks(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Removes the callbacks of a lost connection, which kombu leaves behind (celery/kombu#2492).

    They would be called at each turn of the event loop for ever, and keep the connection's objects.
    """

    requires = ("celery.worker.consumer:Connection",)

    def stop(self, consumer: Any) -> None:
        """Run after a connection is lost, which is None then, and at the worker's end."""
        if consumer.hub and consumer.connection is None:
            # The pool's callback stays: it is put there only once.
            consumer.hub.on_tick -= {
                it for it in consumer.hub.on_tick if it.__module__ == "kombu.transport.redis"
            }
