"""Dated postings instead of one role on the account; second factors, past passwords, failed logins, remote wipe.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROLES = (
    "grid_worker",
    "operator",
    "dispatcher",
    "department_handler",
    "supervisor",
    "data_steward",
    "auditor",
    "security_admin",
    "system_admin",
)

GRANTS = (
    "GRANT SELECT ON posting, past_password, second_factor, recovery_code, login_failure TO zw_api, zw_worker",
    "GRANT INSERT ON account, posting, membership TO zw_api",
    "GRANT UPDATE (display_name, password_hash, password_temporary, password_set_at, active) ON account TO zw_api",
    "GRANT UPDATE (ends_at) ON posting, membership TO zw_api",
    "GRANT INSERT, UPDATE (ends_at) ON posting TO zw_worker",
    "GRANT INSERT, DELETE ON past_password TO zw_api",
    # Locking rows for a sweep that skips locked ones needs the right to update them.
    "GRANT INSERT, UPDATE, DELETE ON second_factor, recovery_code, login_failure TO zw_api",
)

FIRST_POSTINGS = """
INSERT INTO posting (id, account_id, role, territory_code, department_code, starts_at, granted_by)
SELECT gen_random_uuid(), id, role, territory_code, department_code, created_at, 'migration' FROM account
"""

NEWEST_POSTING = """
UPDATE account SET role = newest.role, territory_code = newest.territory_code, department_code = newest.department_code
FROM (SELECT DISTINCT ON (account_id) * FROM posting ORDER BY account_id, starts_at DESC) AS newest
WHERE newest.account_id = account.id
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    create_tables()
    op.execute(FIRST_POSTINGS)
    for column in ("role", "territory_code", "department_code"):
        op.drop_column("account", column)
    op.add_column("account", sa.Column("password_temporary", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("account", "password_temporary", server_default=None)
    op.add_column("account", sa.Column("password_set_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE account SET password_set_at = created_at WHERE password_hash IS NOT NULL")
    op.add_column("device", sa.Column("wipe_requested_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("device", sa.Column("wipe_confirmed_at", sa.DateTime(timezone=True), nullable=True))
    for statement in GRANTS:
        op.execute(statement)


def downgrade() -> None:
    """Accounts without any posting become grid workers that are not active: the old tables know no account without."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("device", "wipe_confirmed_at")
    op.drop_column("device", "wipe_requested_at")
    op.drop_column("account", "password_set_at")
    op.drop_column("account", "password_temporary")
    op.add_column("account", sa.Column("role", sa.String(length=32), nullable=True))
    op.add_column("account", sa.Column("territory_code", sa.String(length=12), nullable=True))
    op.add_column("account", sa.Column("department_code", sa.String(length=32), nullable=True))
    op.execute(NEWEST_POSTING)
    op.execute("UPDATE account SET role = 'grid_worker', territory_code = '', active = false WHERE role IS NULL")
    op.alter_column("account", "role", nullable=False)
    op.alter_column("account", "territory_code", nullable=False)
    op.create_foreign_key(
        op.f("fk_account_department_code_department"), "account", "department", ["department_code"], ["code"]
    )
    for table in ("login_failure", "recovery_code", "second_factor", "past_password", "posting"):
        op.drop_table(table)
    op.execute("REVOKE INSERT, UPDATE ON account, membership FROM zw_api")


def create_tables() -> None:
    op.create_table(
        "posting",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Enum(*ROLES, name="role", native_enum=False, length=32), nullable=False),
        sa.Column("territory_code", sa.String(length=12), nullable=False),
        sa.Column("department_code", sa.String(length=32), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("granted_by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_posting_account_id_account")),
        sa.ForeignKeyConstraint(
            ["department_code"], ["department.code"], name=op.f("fk_posting_department_code_department")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posting")),
        postgresql.ExcludeConstraint(
            (sa.text("account_id"), "="),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            using="gist",
            name="ex_posting_one_at_a_time",
        ),
        postgresql.ExcludeConstraint(
            (sa.text("account_id"), "="),
            (sa.text("role"), "<>"),
            using="gist",
            where=sa.text(
                "role IN ('auditor', 'security_admin', 'system_admin') AND (ends_at IS NULL OR ends_at > starts_at)"
            ),
            name="ex_posting_separate_people",
        ),
    )
    op.create_index(op.f("ix_posting_account_id"), "posting", ["account_id"])
    op.create_table(
        "past_password",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_past_password_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_past_password")),
    )
    op.create_index(op.f("ix_past_password_account_id"), "past_password", ["account_id"])
    op.create_table(
        "second_factor",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("pending", sa.LargeBinary(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_second_factor_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_second_factor")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_recovery_code_account_id_account")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_recovery_code")),
    )
    op.create_index(op.f("ix_recovery_code_account_id"), "recovery_code", ["account_id"])
    op.create_table(
        "login_failure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bucket", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failure")),
        prefixes=["UNLOGGED"],
    )
    op.create_index(op.f("ix_login_failure_at"), "login_failure", ["at"])
    op.create_index("ix_login_failure_bucket_at", "login_failure", ["bucket", "at"])
