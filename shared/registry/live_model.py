"""The model this process answers with: loaded beside the old one, then swapped in one step.

A request takes one reference and uses it for model, labels and version, so it cannot mix two. A
version that is damaged, or that the loader refuses, never replaces one that works.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from shared.errors import LedgerError, NotFound, Unavailable
from shared.log import get_logger
from shared.registry.gil import short_switch_interval
from shared.registry.store import Deployment, Manifest, Registry

if TYPE_CHECKING:
    from shared.features.extract import FeatureRow
    from shared.model.classifier import Model, Prediction

Outcome = Literal["loaded", "refused", "missing"]
RETRY_S = 5.0  # after a fault of the disk or a version not there yet; a damaged one is not retried
TRANSIENT_ERRORS = (NotFound, Unavailable, OSError, MemoryError)  # says nothing against the version
_log = get_logger()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with the version it belongs to. It never changes: a deploy makes another."""

    deployment: Deployment
    manifest: Manifest
    model: Model
    loaded_at: dt.datetime


class ServedPrediction(NamedTuple):
    """A prediction and the version that made it."""

    prediction: Prediction
    model: LoadedModel


@dataclass(frozen=True, slots=True)
class Status:
    """What this process serves; `meta` is empty while it serves nothing."""

    available: bool
    meta: Mapping[str, Any]
    loaded_at: dt.datetime | None
    error: str | None  # what keeps the live version from being served here


class LiveModel:
    """Follows the registry's pointer. Make it anywhere; it reads nothing before `start`.

    Args:
        registry: where versions come from.
        loader: makes a model of a version's files; `Model.from_files` if not given.
        poll_s: seconds between two looks at the pointer.
        on_reload: told the outcome of each attempt to follow the pointer.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        loader: Callable[[Mapping[str, bytes]], Model] | None = None,
        poll_s: float = 0.5,
        on_reload: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._poll_s = poll_s
        self._on_reload = on_reload
        self._served: LoadedModel | None = None
        self._error: str | None = None
        self._followed: Deployment | str | None = None  # the pointer, or its fault, last acted upon
        self._watcher: threading.Thread | None = None
        self._retry_at = 0.0  # monotonic seconds; until then the same pointer is left alone
        self._forget_threads()
        forget = weakref.WeakMethod(self._forget_threads)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def start(self) -> None:
        """Load the live version, if there is one, and follow the pointer from now on.

        Call it after any fork. Whoever calls while another thread loads waits for that one load.
        """
        with self._lock:
            if self._watcher is None:
                self._follow()
                watcher = threading.Thread(target=self._watch, name="model-watcher", daemon=True)
                watcher.start()
                self._watcher = watcher

    def stop(self) -> None:
        """End the watching; what is served stays."""
        self._stopped.set()
        if self._watcher:
            self._watcher.join()

    @property
    def loaded(self) -> LoadedModel | None:
        """What is held as it is; starts nothing."""
        return self._served

    def current(self) -> LoadedModel | None:
        """What to answer with now. Take it once a request."""
        if self._watcher is None:  # not started yet, or in a process forked from one that was
            self.start()
        return self._served

    def predict(self, row: FeatureRow) -> ServedPrediction | None:
        """The model's prediction and its version, or None while no model is served."""
        served = self.current()
        return ServedPrediction(served.model.predict(row), served) if served else None

    def check(self) -> None:
        """Look at the pointer now, and follow it if it has moved."""
        with self._lock:
            self._follow()

    def status(self) -> Status:
        """What is served here, and what stands in the way of the live version."""
        served, error = self.current(), self._error
        if served is None:
            return Status(False, {}, None, error)
        pointer, manifest = served.deployment, served.manifest
        deployed = {"sequence": pointer.sequence, "deployed_at": pointer.at}
        version = {"run_id": pointer.run_id, "created_at": manifest.created_at, **deployed}
        return Status(True, {**manifest.meta, **version}, served.loaded_at, error)

    def _forget_threads(self) -> None:
        """A forked child has no watcher, and its copy of the lock may be held for ever."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._watcher = None

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                self.check()
            except Exception:  # of the callback at most; the next deploy must still be followed
                _log.exception("runtime.watch_failed")

    def _follow(self) -> None:
        """With the lock held: serve what the pointer says, or keep what works and say why."""
        pointer, fault = self._pointer()
        seen = pointer or str(fault)
        if seen == self._followed and time.monotonic() < self._retry_at:
            return
        self._followed, self._retry_at = seen, math.inf
        if pointer:
            fault = self._load(pointer)
        self._error = reason_of(fault) if fault else None
        if fault and not self._served:
            self._fall_back(pointer)
        outcome = outcome_of(fault)
        _log.info(
            "runtime.followed",
            outcome=outcome,
            live=pointer and pointer.run_id,
            served=self._served and self._served.deployment.run_id,
            error=self._error,
        )
        self._on_reload(outcome)
        if pointer and fault:
            self._retry_or_quarantine(pointer, fault)

    def _pointer(self) -> tuple[Deployment | None, Exception | None]:
        """The live version's pointer, or why there is none."""
        try:
            pointer = self._registry.current()
        except LedgerError as error:
            return None, error
        return pointer, None if pointer else NotFound("no version is deployed")

    def _retry_or_quarantine(self, pointer: Deployment, fault: Exception) -> None:
        if isinstance(fault, TRANSIENT_ERRORS):
            self._retry_at = time.monotonic() + RETRY_S
            return
        try:
            self._registry.quarantine(pointer.run_id, reason_of(fault))
        except LedgerError as error:  # a read-only disk: it is refused here all the same
            _log.warning("runtime.not_quarantined", run_id=pointer.run_id, code=error.code)

    def _load(self, pointer: Deployment) -> Exception | None:
        """Swap in the version of a pointer, or return what is wrong with it and change nothing."""
        old = self._served
        if old and old.deployment.manifest_sha256 == pointer.manifest_sha256:
            self._served = replace(old, deployment=pointer)
            return None
        if not self._loader:
            from shared.model.classifier import (
                Model,  # not above: it is slow, and must come after any fork
            )

            self._loader = Model.from_files
        try:
            with short_switch_interval():
                version = self._registry.load(pointer.run_id, pointer.manifest_sha256)
                model = self._loader(version.files)
        except Exception as error:  # a loader may raise anything; none of it may end the serving
            return error
        self._served = LoadedModel(pointer, version.manifest, model, dt.datetime.now(dt.UTC))
        return None

    def _fall_back(self, refused: Deployment | None) -> None:
        """At a start with a bad live version: serve what a rollback would give, nearest first."""
        try:
            for pointer in self._registry.rollback_stack():
                bad = refused and refused.run_id == pointer.run_id
                if bad or self._registry.quarantined(pointer.run_id) is not None:
                    continue
                if self._load(pointer) is None:
                    self._error = f"{self._error}; version {pointer.run_id} is served instead"
                    return
        except LedgerError as error:
            _log.warning("runtime.no_fallback", code=error.code)


def outcome_of(fault: Exception | None) -> Outcome:
    """The outcome of a load that ended with this fault, or with none."""
    if fault is None:
        return "loaded"
    return "missing" if isinstance(fault, NotFound) else "refused"


def reason_of(fault: Exception) -> str:
    """What is wrong. Of foreign errors only the type: their messages may quote the file."""
    if isinstance(fault, LedgerError):
        return str(fault)
    return f"the version cannot be read: {type(fault).__name__}"
