"""Drift reports, and the job that makes them"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JOB_KINDS = "'features', 'features_range', 'train', 'rules', 'suggest', 'drift'"


def upgrade() -> None:
    op.drop_constraint("ck_jobs_kind", "jobs", type_="check")
    op.create_check_constraint("ck_jobs_kind", "jobs", f"kind IN ({_JOB_KINDS})")
    op.create_table(
        "drift_reports",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("window_start", sa.Date(), nullable=False),
        sa.Column("window_end", sa.Date(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("checks", JSONB(), nullable=False),
        sa.Column("alarm", sa.Boolean(), nullable=False),
        sa.Column("estimated_accuracy", sa.Float()),
        sa.Column("labelled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("accuracy", sa.Float()),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            index=True,
        ),
        sa.UniqueConstraint("run_id", "window_end", name="uq_drift_reports"),
    )
