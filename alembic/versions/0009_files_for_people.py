"""Files made for people to fetch: what is held about somebody, and exports.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _words(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, length=32)


FILE_STATE = ("requested", "ready", "fetched", "refused", "expired")
KINDS = ("person", "house", "organisation", "component", "event", "case")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "access_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject_type", _words("subjecttype", "human", "document", "citizen"), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("citizen_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("id_index", sa.LargeBinary(), nullable=True),
        sa.Column("reason", _words("accessreason", "subject_request", "representative", "authority"), nullable=False),
        sa.Column("state", _words("filestate", *FILE_STATE), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("object_key", sa.String(length=255), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["requested_by"], ["account.id"], name=op.f("fk_access_request_requested_by_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_request")),
    )
    op.create_table(
        "export",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("what", _words("exportwhat", "cases", "verdicts", "records"), nullable=False),
        sa.Column("kind", _words("kind", *KINDS), nullable=True),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column(
            "purpose_code",
            _words("exportpurpose", "statistics", "handover", "inspection", "quality", "other"),
            nullable=False,
        ),
        sa.Column("purpose", sa.LargeBinary(), nullable=False),
        sa.Column("state", _words("filestate", *FILE_STATE), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("object_key", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["requested_by"], ["account.id"], name=op.f("fk_export_requested_by_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
    )
    op.create_index(op.f("ix_export_requested_by"), "export", ["requested_by"], unique=False)
    op.execute("GRANT SELECT, INSERT ON access_request, export TO zw_api, zw_worker")
    op.execute("GRANT UPDATE (state, fetched_at) ON access_request TO zw_api")
    op.execute("GRANT UPDATE ON access_request, export TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("export")
    op.drop_table("access_request")
