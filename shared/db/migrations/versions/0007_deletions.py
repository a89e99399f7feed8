"""When users were deleted, so that versions which learned from them retire"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "deletions",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("known_since", moment, nullable=False),
        sa.Column(
            "deleted_at", moment, nullable=False, server_default=sa.text("clock_timestamp()")
        ),
    )
