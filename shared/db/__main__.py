"""`python -m shared.db migrate`: bring the schema to the newest revision."""

from __future__ import annotations

import sys

from sqlalchemy.exc import OperationalError

from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.errors import SettingsError
from shared.settings import process_settings


def main(argv: list[str]) -> int:
    if argv != ["migrate"]:
        print("usage: python -m shared.db migrate", file=sys.stderr)
        return 2
    try:
        engine = make_engine(process_settings().database_url)
        migrate(engine)
    except SettingsError as error:
        print(f"shared.db: {error}", file=sys.stderr)
        return 1
    except OperationalError as error:
        print(f"shared.db: PostgreSQL does not answer: {error.orig}", file=sys.stderr)
        return 1
    print("The schema is up to date.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
