"""Rule sets are drafted and activated by people, and tried out on past entries first.

Revision ID: 0121
Revises: 0142
"""

import sqlalchemy as sa
from alembic import op

revision = "0121"
down_revision = "0142"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("rule_set", sa.Column("title", sa.String(length=128), nullable=False, server_default=""))
    op.alter_column("rule_set", "title", server_default=None)
    for who, when in (("created_by", None), ("activated_by", "activated_at")):
        op.add_column("rule_set", sa.Column(who, sa.Uuid(), nullable=True))
        op.create_foreign_key(op.f(f"fk_rule_set_{who}_account"), "rule_set", "account", [who], ["id"])
        if when:
            op.add_column("rule_set", sa.Column(when, sa.DateTime(timezone=True), nullable=True))
    op.create_index("uq_rule_set_active", "rule_set", ["active"], unique=True, postgresql_where=sa.text("active"))
    _create_what_if()
    # A rule set is added and comes into force; what it says is never rewritten.
    op.execute("GRANT INSERT, UPDATE (active, activated_by, activated_at) ON rule_set TO zw_api")
    op.execute("GRANT SELECT ON what_if, what_if_count TO zw_api, zw_worker")
    op.execute("GRANT INSERT, UPDATE (state, done_at) ON what_if TO zw_api")
    op.execute("GRANT UPDATE ON what_if TO zw_worker")
    op.execute("GRANT INSERT, UPDATE ON what_if_count TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("what_if_count")
    op.drop_table("what_if")
    op.execute("REVOKE INSERT, UPDATE (active) ON rule_set FROM zw_api")
    op.drop_index("uq_rule_set_active", table_name="rule_set")
    for column in ("activated_at", "activated_by", "created_by", "title"):
        op.drop_column("rule_set", column)


def _create_what_if() -> None:
    op.create_table(
        "what_if",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["asked_by"], ["account.id"], name=op.f("fk_what_if_asked_by_account")),
        sa.ForeignKeyConstraint(["rule_version"], ["rule_set.version"], name=op.f("fk_what_if_rule_version_rule_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_what_if")),
    )
    keys = ("before", "after", "course_before", "course_after")
    op.create_table(
        "what_if_count",
        sa.Column("what_if_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        *(sa.Column(name, sa.String(length=32), nullable=False) for name in keys),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["what_if_id"], ["what_if.id"], name=op.f("fk_what_if_count_what_if_id_what_if")),
        sa.PrimaryKeyConstraint("what_if_id", "kind", "grid_id", *keys, name=op.f("pk_what_if_count")),
    )
