"""Brings the schema to the newest revision, with Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from shared.db import locks


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision; two callers at once take turns."""
    from alembic import command  # not above: it is slow, and only migrations need it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({locks.MIGRATION})"))
        connection.commit()
        try:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        finally:
            connection.rollback()
            connection.execute(text(f"SELECT pg_advisory_unlock({locks.MIGRATION})"))
            connection.commit()
