"""A shorter switch interval of the interpreter while a model loads, so that requests go on.

Parsing a model holds the GIL. With the usual interval of 5 ms the slowest requests during a deploy
take several times as long.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL_S = sys.getswitchinterval()
_loads: list[int] = []  # threads inside the block
_lock = threading.Lock()


@contextmanager
def short_switch_interval() -> Iterator[None]:
    """Inside, other threads wait for the interpreter a tenth as long as usual."""
    with _lock:
        _loads.append(threading.get_ident())
        sys.setswitchinterval(_USUAL_S / 10)
    try:
        yield
    finally:
        with _lock:
            _loads.remove(threading.get_ident())
            if not _loads:
                sys.setswitchinterval(_USUAL_S)
