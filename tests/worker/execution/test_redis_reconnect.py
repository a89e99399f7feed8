"""A worker holds nothing of a connection to Redis that it lost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kombu import Connection
from kombu.asynchronous import Hub

from worker.execution.redis_reconnect import DropLostCallbacks


def pool_callback():
    """What the event loop calls for another than Redis."""


@pytest.fixture
def consumer(redis_url):
    """What of a worker's consumer is looked at: it has a connection, known to its event loop."""
    hub = Hub()
    with Connection(redis_url) as connection:
        connection.transport.register_with_event_loop(connection.connection, hub)
        hub.on_tick.add(pool_callback)
        yield SimpleNamespace(hub=hub, connection=connection)
    hub.close()


def test_event_loop_drops_callbacks_of_a_lost_connection(consumer):
    """Only that: without the callback of its pool a worker takes no job."""
    consumer.connection = None

    DropLostCallbacks(consumer).stop(consumer)

    assert consumer.hub.on_tick == {pool_callback}


def test_ending_worker_keeps_its_callback_for_lost_connections(consumer):
    """What is at work may need it."""
    DropLostCallbacks(consumer).stop(consumer)

    assert len(consumer.hub.on_tick) == 2
