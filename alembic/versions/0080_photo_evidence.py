"""Photos have a placeholder and a perceptual hash, and bear out their entries by a score with reasons.

Revision ID: 0080
Revises: 0072
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0080"
down_revision = "0072"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("photo", sa.Column("placeholder", sa.String(length=64), nullable=True))
    op.create_table(
        "photo_print",
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("bits", postgresql.BIT(length=256), nullable=False),
        sa.Column("detail", sa.SmallInteger(), nullable=False),
        sa.Column("keys", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_photo_print_photo_id_photo")),
        sa.PrimaryKeyConstraint("photo_id", name=op.f("pk_photo_print")),
    )
    op.create_index("ix_photo_print_keys", "photo_print", ["keys"], unique=False, postgresql_using="gin")
    op.create_table(
        "photo_rule_set",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_photo_rule_set")),
    )
    op.create_table(
        "photo_evidence",
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("source_type", sa.String(length=32), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_version", sa.Integer(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("score", sa.SmallInteger(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("assessed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_photo_evidence_photo_id_photo")),
        sa.ForeignKeyConstraint(
            ["rule_version"], ["photo_rule_set.version"], name=op.f("fk_photo_evidence_rule_version_photo_rule_set")
        ),
        sa.PrimaryKeyConstraint("photo_id", "source_type", "source_id", name=op.f("pk_photo_evidence")),
    )
    op.create_index("ix_photo_evidence_source_type_source_id", "photo_evidence", ["source_type", "source_id"])
    op.execute("GRANT SELECT ON photo_rule_set, photo_evidence TO zw_api")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON photo_print, photo_rule_set, photo_evidence TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("photo_evidence")
    op.drop_table("photo_rule_set")
    op.drop_table("photo_print")
    op.drop_column("photo", "placeholder")
