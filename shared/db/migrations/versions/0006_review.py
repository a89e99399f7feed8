"""Indexes for the review queue: the newest suggestion of a transaction, and what waits"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_WAITS = sa.text("answer IS NULL AND txn_id IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_suggestions_newest", "suggestions", ["txn_id", "created_at", "id"])
    op.drop_index("ix_suggestions_txn_id", "suggestions")
    op.create_index(
        "ix_suggestions_unsure", "suggestions", ["confidence", "id"], postgresql_where=_WAITS
    )
    op.create_index(
        "ix_suggestions_merchant", "suggestions", ["merchant", "user_id"], postgresql_where=_WAITS
    )
