"""Builds and tests the warehouse in the database that DATABASE_URL names.

    python warehouse/build.py [dbt's options]

Runs in dbt's own environment; nothing of the service is imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
QUIET = {
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DBT_VERSION_CHECK": "false",
    "DO_NOT_TRACK": "1",
}


def connection(url: str) -> dict[str, str]:
    """The parts of a postgresql:// address as libpq's variables."""
    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "localhost",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }


def main(options: list[str]) -> None:
    """Become dbt; its exit code is 0 only if all is built and every test holds."""
    if not (url := os.environ.get("DATABASE_URL")):
        raise SystemExit("warehouse: DATABASE_URL is not set")
    folders = ["--project-dir", str(HERE), "--profiles-dir", str(HERE)]
    dbt = Path(sys.executable).with_name("dbt")
    env = {**os.environ, **QUIET, **connection(url)}
    os.execve(dbt, [str(dbt), "build", *folders, *options], env)  # noqa: S606  no shell is needed


if __name__ == "__main__":
    main(sys.argv[1:])
