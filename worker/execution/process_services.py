"""The services of a worker process, built at first use and so always after the fork."""

from __future__ import annotations

import os
from functools import lru_cache

from shared import services as composition
from shared.services import Services
from shared.settings import process_settings


@lru_cache(maxsize=1)
def _build(pid: int) -> Services:
    return composition.build(process_settings())


def get_services() -> Services:
    """Return the services of this process, never those of its parent."""
    return _build(os.getpid())
