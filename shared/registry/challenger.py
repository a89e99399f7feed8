"""The version on trial in this process: loaded beside the live one, without a request waiting.

It is not followed like the live version: whoever answers says which one is on trial, and until that
one is loaded there is none.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from shared.errors import DamagedVersion, LedgerError
from shared.log import get_logger
from shared.registry.gil import short_switch_interval
from shared.registry.live_model import (
    RETRY_S,
    TRANSIENT_ERRORS,
    LoadedModel,
    Outcome,
    outcome_of,
    reason_of,
)
from shared.registry.store import Deployment, Registry

if TYPE_CHECKING:
    from shared.model.classifier import Model

_log = get_logger()


class ChallengerModel:
    """Make it anywhere; it starts a thread, and reads, only when a version is first asked for.

    Args:
        registry: where versions come from.
        loader: makes a model of a version's files; `Model.from_files` if not given.
        on_load: told the outcome of each attempt to load.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        loader: Callable[[Mapping[str, bytes]], Model] | None = None,
        on_load: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._on_load = on_load
        self._served: LoadedModel | None = None
        self._wanted: str | None = None
        self._retry_at = 0.0  # monotonic seconds
        self._loading: threading.Thread | None = None
        self._forget_threads()
        forget = weakref.WeakMethod(self._forget_threads)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def model(self, run_id: str | None) -> LoadedModel | None:
        """The version of this id, or None until it is loaded, or while it cannot be.

        Another id, or None, lets go of the version held. Never waits for a disk.
        """
        served = self._served
        if served is not None and served.deployment.run_id == run_id:
            return served
        with self._lock:
            if run_id != self._wanted:
                self._wanted, self._served, self._retry_at = run_id, None, 0.0
            due = self._loading is None and time.monotonic() >= self._retry_at
            if run_id is not None and self._served is None and due:
                self._loading = threading.Thread(
                    target=self._load, args=(run_id,), name="challenger", daemon=True
                )
                self._loading.start()
            return self._served

    def stop(self) -> None:
        """Wait for a load that is under way; what is held stays."""
        loading = self._loading
        if loading is not None:
            loading.join()

    def _forget_threads(self) -> None:
        """A forked child has no loading thread, and its copy of the lock may be held for ever."""
        self._lock = threading.Lock()
        self._loading = None

    def _load(self, run_id: str) -> None:
        found = self._read(run_id)
        fault = found if isinstance(found, Exception) else None
        is_transient = isinstance(fault, TRANSIENT_ERRORS)
        if fault and not is_transient:
            self._quarantine(run_id, reason_of(fault))
        with self._lock:
            self._loading = None
            if self._wanted == run_id:  # else another one is loaded when it is next asked for
                self._served = found if isinstance(found, LoadedModel) else None
                self._retry_at = time.monotonic() + RETRY_S if is_transient else math.inf
        outcome = outcome_of(fault)
        _log.info("challenger.tried", run_id=run_id, outcome=outcome)
        self._on_load(outcome)

    def _read(self, run_id: str) -> LoadedModel | Exception:
        """The version, or what is wrong with it."""
        if not self._loader:
            from shared.model.classifier import (
                Model,  # not above: it is slow, and must come after any fork
            )

            self._loader = Model.from_files
        try:
            problem = self._registry.quarantined(run_id)
            if problem is not None:
                return DamagedVersion(f"quarantined: {problem}", run_id=run_id)
            with short_switch_interval():
                version = self._registry.load(run_id)
                model = self._loader(version.files)
        except Exception as error:  # a loader may raise anything; none of it may end the thread
            return error
        pointer = Deployment(0, run_id, version.manifest_sha256, None, "", "on trial", "", "deploy")
        return LoadedModel(pointer, version.manifest, model, dt.datetime.now(dt.UTC))

    def _quarantine(self, run_id: str, reason: str) -> None:
        """Keep a bad version from being tried anywhere."""
        try:
            self._registry.quarantine(run_id, reason)
        except LedgerError as error:  # a read-only disk: it is refused here all the same
            _log.warning("challenger.not_quarantined", run_id=run_id, code=error.code)
