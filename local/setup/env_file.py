"""Writes `.env` for docker compose: `.env.example` with a random secret for each empty value.

Needs nothing but Python. A `.env` that exists is left alone: its passwords are those of the data.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EMPTY = re.compile(r"^([A-Z_]+)=$", re.MULTILINE)


def fill(example: str) -> str:
    """Return the text with a new secret for each name without a value."""
    return EMPTY.sub(lambda match: f"{match[1]}={_secret(match[1])}", example)


def main() -> int:
    target = ROOT / ".env"
    text = fill((ROOT / ".env.example").read_text())
    try:
        # Only its owner can ever read it.
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{target} is there already and stays as it is.", file=sys.stderr)
        return 1
    with os.fdopen(handle, "w") as file:
        file.write(text)
    print(f"{target} has new secrets. Keep a copy: data and backups need them.")
    return 0


def _secret(name: str) -> str:
    if name == "API_TOKENS":
        return ",".join(f"{scope}:{secrets.token_urlsafe(32)}" for scope in ("predict", "admin"))
    return secrets.token_urlsafe(32)


if __name__ == "__main__":
    raise SystemExit(main())
