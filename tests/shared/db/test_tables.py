"""The tables that the migrations make are those that the code describes."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from shared.db.tables import TRANSACTION_CONTENT, Base, Transaction
from shared.features.extract import RawTransaction

BOOKKEEPING = {"id", "external_id", "deleted_at", "created_at", "updated_at", "content_hash"}


def test_migrations_create_the_tables_of_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_every_content_column_enters_the_features() -> None:
    """A new column is hashed, stored, imported and read for features, or is named here."""
    columns = {column.name for column in Transaction.__table__.columns}

    assert columns - BOOKKEEPING == set(TRANSACTION_CONTENT)
    assert set(TRANSACTION_CONTENT) <= set(RawTransaction._fields)
