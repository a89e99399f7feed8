"""Signs of life of the beat and the workers, and an index for the figures of ended jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    )
    op.create_index(
        "ix_jobs_ended",
        "jobs",
        ["kind", "state"],
        postgresql_include=["created_at", "started_at", "finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
