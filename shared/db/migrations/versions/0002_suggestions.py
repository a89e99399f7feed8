"""Suggestions, the answers to them, rules, and who gets which arm"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JOB_KINDS = "'features', 'features_range', 'train', 'rules', 'suggest'"


def _one_of(name: str, *words: str) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=20)


def _now(name: str) -> sa.Column:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def upgrade() -> None:
    op.drop_constraint("ck_jobs_kind", "jobs", type_="check")
    op.create_check_constraint("ck_jobs_kind", "jobs", f"kind IN ({_JOB_KINDS})")
    op.create_index(
        "ix_transactions_deleted",
        "transactions",
        ["id"],
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index("ix_transactions_user", "transactions", ["user_id", "date", "id"])
    op.create_index("ix_ml_features_user_merchant", "ml_features", ["user_id", "merchant", "date"])
    op.create_table(
        "rule_sets",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("version", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("rules", JSONB(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        _now("updated_at"),
    )
    op.create_table(
        "merchant_priors",
        sa.Column("merchant", sa.Text(), primary_key=True),
        sa.Column("label", sa.String(80), primary_key=True),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.Column("of_users", sa.Integer(), nullable=False),
    )
    op.create_table(
        "suggestions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "txn_id",
            sa.BigInteger(),
            sa.ForeignKey("transactions.id", ondelete="CASCADE"),
            index=True,
        ),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column("label", sa.String(80)),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("alternatives", JSONB(), nullable=False),
        sa.Column("reasons", JSONB(), nullable=False),
        sa.Column(
            "arm", _one_of("ck_suggestions_arm", "rules", "model", "challenger"), nullable=False
        ),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("model_version", sa.Text()),
        sa.Column("rules_label", sa.String(80)),
        sa.Column("model_label", sa.String(80)),
        sa.Column("answer", _one_of("ck_suggestions_answer", "accept", "correct", "reject")),
        sa.Column("answer_label", sa.String(80)),
        sa.Column("answered_at", sa.DateTime(timezone=True)),
        _now("created_at"),
    )
    op.create_index("ix_suggestions_created_at", "suggestions", ["created_at"])
    op.create_index("ix_suggestions_user", "suggestions", ["user_id", "created_at"])
    op.create_index(
        "ix_suggestions_answered",
        "suggestions",
        ["created_at"],
        postgresql_include=["arm", "answer"],
        postgresql_where=sa.text("answer IS NOT NULL AND label IS NOT NULL AND NOT forced"),
    )
    op.create_index(
        "ix_suggestions_disagreeing",
        "suggestions",
        ["created_at"],
        postgresql_where=sa.text("rules_label <> model_label"),
    )
    op.create_table(
        "suggestion_answers",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column(
            "suggestion_id",
            sa.String(32),
            sa.ForeignKey("suggestions.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text(), nullable=False),
        sa.Column(
            "action", _one_of("ck_answers_action", "accept", "correct", "reject"), nullable=False
        ),
        sa.Column("label", sa.String(80)),
        sa.Column("before", JSONB()),
        sa.Column("undone_at", sa.DateTime(timezone=True)),
        _now("created_at"),
    )
    op.create_index("ix_suggestion_answers_merchant", "suggestion_answers", ["user_id", "merchant"])
    op.create_table(
        "rollout_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("canary", sa.Float(), nullable=False),
        sa.Column("challenger", sa.Text()),
        sa.Column("trial", sa.Float(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        _now("at"),
    )
