"""Paths of the local stack, all of them under `var/`."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VAR = Path(os.environ.get("LEDGER_VAR") or ROOT / "var").resolve()
RUN = VAR / "run"  # what belongs to one run of the stack
LOG = VAR / "log"
SECRETS = VAR / "secrets"
NATIVE = VAR / "native"
SAMPLE = VAR / "sample"
STATE = RUN / "stack.json"


class StackError(RuntimeError):
    """The command failed; the message says why, for the person at the terminal."""


def make_folders() -> None:
    """Make the folders that are missing.

    Raises:
        StackError: the folders belong to another user, or cannot be written.
    """
    try:
        for folder in (VAR, RUN, LOG, SECRETS):
            folder.mkdir(parents=True, exist_ok=True)
        if VAR.stat().st_uid == os.geteuid():
            VAR.chmod(0o711)  # PostgreSQL's user passes through when the stack is root's
            SECRETS.chmod(0o700)
    except OSError as error:
        raise StackError(f"{error.filename}: {error.strerror}") from None
    if VAR.stat().st_uid != os.geteuid():
        raise StackError(f"{VAR} belongs to another user: run as that user, or remove it")
