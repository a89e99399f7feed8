"""Errors the service raises on purpose.

LedgerError
├── SettingsError           the process cannot start
├── InvalidInput            the caller can fix it
│   └── NotATable           the file is no table of transactions at all
├── NotFound                no such job, transaction or model version
├── NotEnoughLabels         training needs more labelled rows
├── Conflict                the present state forbids it
│   ├── AlreadyRunning      a training run is queued or running
│   ├── DeployConflict      another deploy came first
│   └── NothingToRollBack   no version was live before this one
├── DamagedVersion          a stored version does not match its hashes
├── TrainingFailed          a run ended without a model, and why
├── JobCancelled            a caller cancelled this job
├── LeaseLost               another worker has taken the job over
└── Unavailable             a dependency did not answer in time; try again
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self


class FieldError(NamedTuple):
    """A field of the input and what is wrong with it."""

    field: str
    message: str


class LedgerError(Exception):
    """Base of all exceptions; `facts` become members of the problem document."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "The service made a mistake"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts


class SettingsError(LedgerError):
    code = "bad_settings"
    title = "The process cannot start with these settings"


class InvalidInput(LedgerError):
    """The caller can fix it; `errors` names each field and what was expected."""

    code = "invalid_input"
    title = "The input is not valid"

    def __init__(self, message: str, errors: Sequence[FieldError] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.errors = tuple(errors)

    @classmethod
    def of_field(cls, field: str, message: str) -> Self:
        """The error of one field; its *message* follows the name."""
        return cls(f"{field} {message}", [FieldError(field, message)])


class NotATable(InvalidInput):
    code = "not_a_table"
    title = "The file is not a table of transactions"


class NotFound(LedgerError):
    code = "not_found"
    title = "There is no such thing"


class NotEnoughLabels(LedgerError):
    """Facts: found, needed."""

    code = "not_enough_labels"
    title = "Training needs more labelled transactions"


class Conflict(LedgerError):
    code = "conflict"
    title = "The request conflicts with the state of things"


class AlreadyRunning(Conflict):
    """Facts: job_id of the run that is queued or running."""

    code = "already_running"
    title = "A run is queued or running"


class DeployConflict(Conflict):
    code = "deploy_conflict"
    title = "Another deploy came first"


class NothingToRollBack(Conflict):
    code = "nothing_to_roll_back"
    title = "No version was live before this one"


class DamagedVersion(Conflict):
    """A stored version does not match its hashes, or is not of a kind this code can serve."""

    code = "damaged_version"
    title = "The stored model version cannot be trusted"


class TrainingFailed(LedgerError):
    code = "training_failed"
    title = "The training run ended without a model"


class JobCancelled(LedgerError):
    code = "cancelled"
    title = "The job was cancelled"


class LeaseLost(LedgerError):
    code = "lease_lost"
    title = "Another worker has taken the job over"


class Unavailable(LedgerError):
    """Facts: dependency, the name of what did not answer."""

    code = "unavailable"
    title = "A dependency does not answer"
