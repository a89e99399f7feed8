"""How Alembic reaches the database: always through the connection that shared.db.engine hands over."""

from alembic import context

from shared.db.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
