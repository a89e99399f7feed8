"""The live model of a process: the deployed version, loaded beside the old one, then swapped.

A request takes one reference and uses it for model, labels and version, so it cannot mix two. A
damaged version, or one that the loader refuses, never replaces one that works.
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
from shared.registry.deleted_users import Stamp
from shared.registry.gil import short_switch_interval
from shared.registry.store import Deployment, Manifest, Registry

if TYPE_CHECKING:
    from shared.features.extract import FeatureRow
    from shared.model.classifier import Model, Prediction

Outcome = Literal["loaded", "refused", "missing"]
Loader = Callable[[Mapping[str, bytes]], "Model"]
RETRY_S = 5.0  # after a transient error
TRANSIENT_ERRORS = (NotFound, Unavailable, OSError, MemoryError)  # the version may be good
_log = get_logger()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version in memory: the model, its manifest and its deployment. Immutable."""

    deployment: Deployment
    manifest: Manifest
    model: Model
    loaded_at: dt.datetime
    deletions: Stamp | None = None  # that `model` follows; see deleted_users.py


class ServedPrediction(NamedTuple):
    """A prediction and the version that made it."""

    prediction: Prediction
    model: LoadedModel


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a live model; `meta` is empty while none is served."""

    available: bool
    meta: Mapping[str, Any]
    loaded_at: dt.datetime | None
    error: str | None  # why the deployed version is not served here


def parse_model(files: Mapping[str, bytes]) -> Model:
    """Make a model of a version's files."""
    from shared.model.classifier import Model  # not above: it is slow, and must follow any fork

    return Model.from_files(files)


def load_model(registry: Registry, deployment: Deployment, loader: Loader) -> LoadedModel:
    """Read a version and parse it. May raise anything that the loader raises."""
    with short_switch_interval():
        version = registry.load(deployment.run_id, deployment.manifest_sha256 or None)
        model = loader(version.files)
    if not deployment.manifest_sha256:  # of a version that is not deployed
        deployment = replace(deployment, manifest_sha256=version.manifest_sha256)
    loaded = LoadedModel(deployment, version.manifest, model, dt.datetime.now(dt.UTC))
    return follow_deletions(registry, loaded)


def follow_deletions(registry: Registry, loaded: LoadedModel) -> LoadedModel:
    """The same version, which does not know the users who were deleted since its training.

    Returns *loaded* itself if nobody was; also if the disk fails: answering goes on.
    """
    try:
        stamp = registry.deletions_stamp()
        if stamp == loaded.deletions:
            return loaded
        unknown = registry.deleted_users(loaded.manifest.read_at)
    except LedgerError as error:
        _log.warning("registry.deletions_unreadable", code=error.code)
        return loaded
    return replace(loaded, model=loaded.model.without_users(unknown), deletions=stamp)


def quarantine_version(registry: Registry, run_id: str, fault: Exception) -> None:
    """Mark a bad version, so that no process tries it."""
    try:
        registry.quarantine(run_id, reason_of(fault))
    except LedgerError as error:  # a read-only disk: this process refuses the version anyway
        _log.warning("registry.not_quarantined", run_id=run_id, code=error.code)


class LiveModel:
    """Follows the registry's pointer in a thread; reads nothing before `start` or the first use.

    Args:
        registry: where versions come from.
        loader: makes a model of a version's files.
        poll_s: seconds between two looks at the pointer.
        on_reload: called with the outcome of each attempt to follow the pointer.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        loader: Loader = parse_model,
        poll_s: float = 0.5,
        on_reload: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._poll_s = poll_s
        self._on_reload = on_reload
        self._served: LoadedModel | None = None
        self._error: str | None = None
        self._followed: Deployment | str | None = None  # the pointer, or its fault
        self._watcher: threading.Thread | None = None
        self._retry_at = 0.0  # monotonic seconds; the same pointer is not tried before
        self._forget_threads()
        forget = weakref.WeakMethod(self._forget_threads)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def start(self) -> None:
        """Load the live version, if there is one, and follow the pointer from now on.

        Call it after any fork. A caller waits while another thread loads.
        """
        with self._lock:
            if self._watcher is None:
                self._follow()
                watcher = threading.Thread(target=self._watch, name="model-watcher", daemon=True)
                watcher.start()
                self._watcher = watcher

    def stop(self) -> None:
        """Stop following the pointer; the model stays."""
        self._stopped.set()
        if self._watcher:
            self._watcher.join()

    @property
    def loaded(self) -> LoadedModel | None:
        """The model in memory; starts nothing."""
        return self._served

    def current(self) -> LoadedModel | None:
        """The model to answer with now. Take it once a request."""
        if self._watcher is None:  # not started yet, or in a process forked from one that was
            self.start()
        served = self._served
        if served is None:
            return None
        followed = follow_deletions(self._registry, served)
        if followed is not served:
            with self._lock:
                if self._served is served:  # else another version was loaded, with its deletions
                    self._served = followed
        return followed

    def predict(self, row: FeatureRow) -> ServedPrediction | None:
        """The model's prediction and its version, or None while no model is served."""
        served = self.current()
        return ServedPrediction(served.model.predict(row), served) if served else None

    def check(self) -> None:
        """Look at the pointer now, and follow it if it has moved."""
        with self._lock:
            self._follow()

    def status(self) -> Status:
        """The version that is served, and why the deployed one is not."""
        served, error = self.current(), self._error
        if served is None:
            return Status(False, {}, None, error)
        pointer, manifest = served.deployment, served.manifest
        deployed = {"sequence": pointer.sequence, "deployed_at": pointer.at}
        version = {"run_id": pointer.run_id, "created_at": manifest.created_at, **deployed}
        return Status(True, {**manifest.meta, **version}, served.loaded_at, error)

    def _forget_threads(self) -> None:
        """In a forked child: it has no watcher, and its copy of the lock may never be released."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._watcher = None

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                self.check()
            except Exception:  # only `on_reload` can raise; later deployments must still be loaded
                _log.exception("runtime.watch_failed")

    def _follow(self) -> None:
        """With the lock held: act on the pointer, unless it was acted on before.

        pointer                           served                     next look
        the same manifest again           the same model             at the next pointer
        a version that loads              its model                  at the next pointer
        one with a transient error        the old model, if any *    again after RETRY_S
        one with another error            the old model, if any *    quarantined; the next pointer
        missing or damaged                the old model, if any *    at the next pointer

        * at a start there is no old one: the nearest version that a rollback would give.
        """
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
        if pointer and isinstance(fault, TRANSIENT_ERRORS):
            self._retry_at = time.monotonic() + RETRY_S
        elif pointer and fault:
            quarantine_version(self._registry, pointer.run_id, fault)
        outcome = outcome_of(fault)
        _log.info(
            "runtime.followed",
            outcome=outcome,
            live=pointer and pointer.run_id,
            served=self._served and self._served.deployment.run_id,
            error=self._error,
        )
        self._on_reload(outcome)

    def _pointer(self) -> tuple[Deployment | None, Exception | None]:
        """The live version's pointer, or why there is none."""
        try:
            pointer = self._registry.current()
        except LedgerError as error:
            return None, error
        return pointer, None if pointer else NotFound("no version is deployed")

    def _load(self, pointer: Deployment) -> Exception | None:
        """Swap in the version of a pointer, or return what is wrong with it and change nothing."""
        old = self._served
        try:
            if old and old.deployment.manifest_sha256 == pointer.manifest_sha256:
                self._served = replace(old, deployment=pointer)
            else:
                self._served = load_model(self._registry, pointer, self._loader)
        except Exception as error:  # a loader may raise anything; none of it may end the serving
            return error
        return None

    def _fall_back(self, refused: Deployment | None) -> None:
        """Serve the nearest version that a rollback would give."""
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
    """Classify the end of a load."""
    if fault is None:
        return "loaded"
    return "missing" if isinstance(fault, NotFound) else "refused"


def reason_of(fault: Exception) -> str:
    """Describe a fault; of foreign errors only the type: their messages may quote the file."""
    if isinstance(fault, LedgerError):
        return str(fault)
    return f"the version cannot be read: {type(fault).__name__}"
