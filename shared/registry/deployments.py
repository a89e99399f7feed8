"""The deployments: the pointer to the live version, and its history.

    <root>/deploy/{CURRENT, history.jsonl, lock, quarantine/<run_id>.json}

Replacing CURRENT is the commit. The history follows it; the next deploy adds a line that a crash
prevented.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, Self

from shared.errors import DamagedVersion, FieldError, InvalidInput, Unavailable
from shared.log import get_logger
from shared.registry import durable_files

MAX_TEXT = 2000  # characters of `by` and of `why`
MAX_HISTORY = 256 << 20  # bytes; a deploy takes about 400
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment. CURRENT has the live one; the history has all of them."""

    sequence: int  # 1 for the first deploy, then one more each time, a rollback too
    run_id: str
    manifest_sha256: str
    previous: str | None  # run_id that a rollback from here returns to
    by: str
    why: str
    at: str  # ISO 8601, UTC
    action: Literal["deploy", "rollback"]

    @classmethod
    def parse(cls, sealed: bytes) -> Self:
        """Parse a checksummed line; ValueError if it is not a deployment."""
        body = durable_files.load_checksummed(sealed)
        try:
            return cls(**{field.name: body[field.name] for field in fields(cls)})
        except KeyError as missing:
            raise ValueError(f"has no {missing}") from None


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """The live deployment, and all deployments so far."""

    live: Deployment | None  # None also if CURRENT is damaged
    records: list[Deployment]  # oldest first; the live one among them

    @property
    def sequence(self) -> int:
        """The sequence of the live deployment, or of the newest record; 0 before the first."""
        return (self.live or self.records[-1]).sequence if self.records else 0

    @property
    def next_sequence(self) -> int:
        """One more than the largest so far, also if CURRENT is damaged."""
        return self.records[-1].sequence + 1 if self.records else 1

    @property
    def rollback_stack(self) -> list[Deployment]:
        """The live deployment, then the one that a rollback returns to, and so on."""
        stack: list[Deployment] = []
        for record in self.records:
            if record.sequence > self.sequence:  # an older CURRENT was put back by hand
                break
            if record.action == "rollback":
                del stack[-2:]
            elif (
                stack and stack[-1].run_id == record.run_id
            ):  # deployed anew over a damaged CURRENT
                del stack[-1]
            stack.append(record)
        return stack[::-1]

    def deployed_hash(self, run_id: str) -> str | None:
        """The manifest's hash under which a version was deployed before."""
        seen = [item.manifest_sha256 for item in self.records if item.run_id == run_id]
        return seen[-1] if seen else None


class DeploymentLog:
    """The files of `<root>/deploy`; reading needs no lock, since each is replaced or only grows."""

    def __init__(self, folder: Path, lock_wait_s: float) -> None:
        self._folder = folder
        self._current = folder / "CURRENT"
        self._history = folder / "history.jsonl"
        self._lock_wait_s = lock_wait_s

    def current(self) -> Deployment | None:
        """The live deploy, or None before the first one; DamagedVersion if it is not readable."""
        pointer = self._pointer()
        if pointer is None and self._read_log():
            pointer = self._pointer()  # the first deploy may have come between the two looks
            if pointer is None:
                raise DamagedVersion("CURRENT: missing, though versions were deployed")
        return pointer

    def state(self) -> DeploymentState:
        """Read pointer and history; a damaged pointer or line is left out."""
        records = {record.sequence: record for record in self._read_log()}
        try:
            live = self._pointer()
        except DamagedVersion:
            live = None
        if live:
            records[live.sequence] = live
        return DeploymentState(live, [records[sequence] for sequence in sorted(records)])

    def recover(self) -> DeploymentState:
        """With the lock held: read the state, after finishing what a dead writer left undone."""
        state = self.state()
        if state.live and state.live not in self._read_log():
            durable_files.append(self._history, durable_files.dump_checksummed(asdict(state.live)))
        return state

    def commit(
        self,
        action: Literal["deploy", "rollback"],
        run_id: str,
        manifest_sha256: str,
        state: DeploymentState,
        *,
        by: str,
        why: str,
    ) -> Deployment:
        """With the lock held: make a checked version the live one."""
        for field, text in (("by", by), ("why", why)):
            if len(text) > MAX_TEXT:
                message = f"must have at most {MAX_TEXT} characters"
                raise InvalidInput(f"{field} {message}", [FieldError(field, message)])
        before = state.rollback_stack if action == "deploy" else state.rollback_stack[2:]
        pointer = Deployment(
            sequence=state.next_sequence,
            run_id=run_id,
            manifest_sha256=manifest_sha256,
            previous=next((item.run_id for item in before if item.run_id != run_id), None),
            by=by,
            why=why,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            action=action,
        )
        sealed = durable_files.dump_checksummed(asdict(pointer))
        durable_files.replace(self._current, sealed)
        try:
            durable_files.append(self._history, sealed)
        except OSError as error:  # it is live; the next deploy adds the line
            _log.warning("registry.history_not_written", run_id=run_id, reason=error.strerror)
        return pointer

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the deploy lock; Unavailable if another holds it for too long."""
        durable_files.make_directory(self._folder)
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW
        with durable_files.closing(os.open(self._folder / "lock", flags, 0o644)) as lock:
            deadline = time.monotonic() + self._lock_wait_s
            while not durable_files.try_lock(lock):
                if time.monotonic() >= deadline:
                    raise Unavailable("another process holds the registry", dependency="registry")
                time.sleep(0.01)
            yield

    def quarantined(self, run_id: str) -> str | None:
        """Why a version must not be deployed, or None. The caller has checked `run_id`."""
        try:
            sealed = durable_files.read_if_there(self._marker(run_id))
            return None if sealed is None else str(durable_files.load_checksummed(sealed)["reason"])
        except (ValueError, KeyError):
            return "the reason is not readable"

    def quarantine(self, run_id: str, reason: str) -> None:
        """With the lock held: mark a version; the first reason stays."""
        if self.quarantined(run_id) is None:
            durable_files.make_directory(self._marker(run_id).parent)
            durable_files.replace(
                self._marker(run_id), durable_files.dump_checksummed({"reason": reason[:2000]})
            )

    def _marker(self, run_id: str) -> Path:
        return self._folder / "quarantine" / f"{run_id}.json"

    def _pointer(self) -> Deployment | None:
        try:
            sealed = durable_files.read_if_there(self._current)
            return None if sealed is None else Deployment.parse(sealed)
        except ValueError as error:
            raise DamagedVersion(f"CURRENT: {error}") from error

    def _read_log(self) -> list[Deployment]:
        """Read the records of the history that are readable."""
        text = durable_files.read_if_there(self._history, MAX_HISTORY) or b""
        records = []
        for line in text.splitlines(keepends=True):
            try:
                records.append(Deployment.parse(line))
            except ValueError:  # torn: its writer died, or the disk was full
                continue
        return records
