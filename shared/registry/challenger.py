"""The challenger of a process: the version on trial, loaded in the background.

Unlike the live model it follows no pointer: the caller names the version on trial, and gets None
until that one is loaded.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable

from shared.errors import DamagedVersion
from shared.log import get_logger
from shared.registry.live_model import (
    RETRY_S,
    TRANSIENT_ERRORS,
    LoadedModel,
    Loader,
    Outcome,
    follow_deletions,
    load_model,
    outcome_of,
    parse_model,
    quarantine_version,
)
from shared.registry.store import Deployment, Registry

_log = get_logger()


class ChallengerModel:
    """Holds one version on trial; starts a thread, and reads, at the first request for a version.

    Args:
        registry: where versions come from.
        loader: makes a model of a version's files.
        on_load: called with the outcome of each attempt to load.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        loader: Loader = parse_model,
        on_load: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._on_load = on_load
        self._served: LoadedModel | None = None
        self._run_id: str | None = None
        self._retry_at = 0.0  # monotonic seconds
        self._loading: threading.Thread | None = None
        self._forget_threads()
        forget = weakref.WeakMethod(self._forget_threads)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def model(self, run_id: str | None) -> LoadedModel | None:
        """Return the version with this id; None until it is loaded, or if it cannot be.

        Another id, or None, releases the version before. Never waits for a disk.
        """
        served = self._served
        if served is not None and served.deployment.run_id == run_id:
            followed = follow_deletions(self._registry, served)
            if followed is not served:
                with self._lock:
                    if self._served is served:
                        self._served = followed
            return followed
        with self._lock:
            if run_id != self._run_id:
                self._run_id, self._served, self._retry_at = run_id, None, 0.0
            due = self._loading is None and time.monotonic() >= self._retry_at
            if run_id is not None and self._served is None and due:
                self._loading = threading.Thread(
                    target=self._load, args=(run_id,), name="challenger", daemon=True
                )
                self._loading.start()
            return self._served

    def stop(self) -> None:
        """Wait for a load in progress; a loaded version stays."""
        loading = self._loading
        if loading is not None:
            loading.join()

    def _forget_threads(self) -> None:
        """In a forked child: it has no loading thread, and its lock may never be released."""
        self._lock = threading.Lock()
        self._loading = None

    def _load(self, run_id: str) -> None:
        served: LoadedModel | None = None
        fault: Exception | None = None
        try:
            served = self._read(run_id)
        except Exception as error:  # a loader may raise anything; none of it may end the thread
            fault = error
        is_transient = isinstance(fault, TRANSIENT_ERRORS)
        if fault and not is_transient:
            quarantine_version(self._registry, run_id, fault)
        with self._lock:
            self._loading = None
            if self._run_id == run_id:  # else the next request loads another one
                self._served = served
                self._retry_at = time.monotonic() + RETRY_S if is_transient else math.inf
        outcome = outcome_of(fault)
        _log.info("challenger.tried", run_id=run_id, outcome=outcome)
        self._on_load(outcome)

    def _read(self, run_id: str) -> LoadedModel:
        problem = self._registry.quarantined(run_id)
        if problem is not None:
            raise DamagedVersion(f"quarantined: {problem}", run_id=run_id)
        trial = Deployment(0, run_id, "", None, "", "on trial", "", "deploy")
        return load_model(self._registry, trial, self._loader)
