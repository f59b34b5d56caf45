"""What citizens are told about their data, and what they say to it.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "privacy_notice",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text_zh", sa.String(length=600), nullable=False),
        sa.Column("text_en", sa.String(length=2000), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_privacy_notice")),
    )
    op.create_table(
        "consent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("citizen_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "act",
            sa.Enum("told", "agreed", "withdrawn", name="consentact", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["citizen_id"], ["citizen.id"], name=op.f("fk_consent_citizen_id_citizen")),
        sa.ForeignKeyConstraint(
            ["version"], ["privacy_notice.version"], name=op.f("fk_consent_version_privacy_notice")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index("ix_consent_citizen_id_id", "consent", ["citizen_id", "id"], unique=False)
    op.create_index(
        "uq_consent_told",
        "consent",
        ["citizen_id", "version"],
        unique=True,
        postgresql_where=sa.text("act = 'told'"),
    )
    op.execute("GRANT SELECT ON privacy_notice, consent TO zw_api, zw_worker")
    op.execute("GRANT INSERT ON privacy_notice, consent TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("consent")
    op.drop_table("privacy_notice")
