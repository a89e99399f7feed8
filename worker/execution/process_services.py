"""The services of a worker process: built at first use, so always after the fork."""

from __future__ import annotations

import os
from functools import lru_cache

from shared import services as composition
from shared.services import Services
from shared.settings import process_settings


@lru_cache(maxsize=1)
def _services_of_process(pid: int) -> Services:
    return composition.build(process_settings())


def get_services() -> Services:
    """This process's own engine, messenger and registry; never those of the parent."""
    return _services_of_process(os.getpid())
