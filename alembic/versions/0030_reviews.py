"""Review of conflicts and quarantined rows: their steps, what reviewers may see and write, and what authors hear of it.

A reviewer writes documents of people who pushed them, in grids he does not hold. So the request says which documents
and rows it reviews (`zw.review`), and the policies let it write these, within its territory, and nothing else.

Revision ID: 0030
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0020"
branch_labels = None
depends_on = None

FUNCTIONS = {
    "zw_reviewed": (
        "",
        """
        CREATE FUNCTION zw_reviewed() RETURNS uuid[] LANGUAGE sql STABLE AS $$
            SELECT CAST(string_to_array(coalesce(current_setting('zw.review', true), ''), ',') AS uuid[])
        $$
        """,
    ),
    # Rows that name no grid of ours are reviewed where their author works.
    "zw_supervises": (
        "uuid",
        """
        CREATE FUNCTION zw_supervises(account uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
            SELECT EXISTS (
                SELECT FROM posting p WHERE p.account_id = account AND starts_with(p.territory_code, zw_territory())
                  AND p.starts_at <= clock_timestamp() AND (p.ends_at IS NULL OR p.ends_at > clock_timestamp()))
        $$
        """,
    ),
}

OWN_DEVICE = "device_id = (SELECT zw_device())"
OWN_ACCOUNT = "account_id = (SELECT zw_account()) AND (SELECT zw_reaches('self'))"
BELOW = "starts_with(grid_id, (SELECT zw_territory()))"
NO_GRID = "grid_id IS NULL OR NOT EXISTS (SELECT FROM grid g WHERE g.id = grid_id)"
REVIEWED = "{} = ANY ((SELECT zw_reviewed())::uuid[])"

OLD_READS = {"conflict": f"{OWN_DEVICE} OR {BELOW}", "quarantine": f"{OWN_DEVICE} OR {BELOW}"}
NEW_READS = {
    # A conflict goes where its document goes, which may have moved since.
    "conflict": f"{OWN_DEVICE} OR {OWN_ACCOUNT} OR EXISTS (SELECT FROM document d WHERE d.id = document_id)",
    "quarantine": f"{OWN_DEVICE} OR {OWN_ACCOUNT} OR {BELOW} OR ({NO_GRID}) AND zw_supervises(account_id)",
}
STEP_OF_SEEN = """EXISTS (SELECT FROM conflict c WHERE c.id = conflict_id)
    OR EXISTS (SELECT FROM quarantine q WHERE q.id = quarantine_id)"""
READS = {
    "mutation": REVIEWED.format("document_id"),
    "feed": REVIEWED.format("document_id"),
}
INSERTS = {
    "document": f"{REVIEWED.format('id')} AND {BELOW}",
    "document_version": f"{REVIEWED.format('document_id')} AND {BELOW}",
    "mutation": REVIEWED.format("document_id"),
    "conflict": REVIEWED.format("document_id"),
    "feed": f"{REVIEWED.format('document_id')} AND {BELOW}",
}
UPDATES = {
    "document": f"{REVIEWED.format('id')} AND {BELOW}",
    "feed": f"{REVIEWED.format('document_id')} AND {BELOW}",
    "conflict": f"{REVIEWED.format('document_id')} OR {OWN_ACCOUNT}",
    "quarantine": REVIEWED.format("id"),
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_tables()
    for _, statement in FUNCTIONS.values():
        op.execute(statement)
    for name, (arguments, _) in FUNCTIONS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {name}({arguments}) FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name}({arguments}) TO zw_api, zw_worker")
    _grant()
    op.execute("ALTER TABLE review_step ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY worker ON review_step TO zw_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY api_read ON review_step FOR SELECT TO zw_api USING ({STEP_OF_SEEN})")
    op.execute(
        "CREATE POLICY api_insert ON review_step FOR INSERT TO zw_api "
        f"WITH CHECK (actor = (SELECT zw_account()) AND ({STEP_OF_SEEN}))"
    )
    for table, readable in NEW_READS.items():
        op.execute(f"ALTER POLICY api_read ON {table} USING ({readable})")
    for table, readable in READS.items():
        op.execute(f"CREATE POLICY review_read ON {table} FOR SELECT TO zw_api USING ({readable})")
    for table, check in INSERTS.items():
        op.execute(f"CREATE POLICY review_insert ON {table} FOR INSERT TO zw_api WITH CHECK ({check})")
    for table, using in UPDATES.items():
        op.execute(f"CREATE POLICY review_update ON {table} FOR UPDATE TO zw_api USING ({using}) WITH CHECK ({using})")


def _create_tables() -> None:
    op.create_table(
        "review_counter",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_review_counter_account_id_account")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_review_counter")),
    )
    op.create_table(
        "review_step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conflict_id", sa.Uuid(), nullable=True),
        sa.Column("quarantine_id", sa.Uuid(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("from_state", sa.String(length=32), nullable=False),
        sa.Column("to_state", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("choice", sa.String(length=32), nullable=True),
        sa.Column("version_before", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("op", sa.Uuid(), nullable=True),
        sa.Column("detail", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("num_nonnulls(conflict_id, quarantine_id) = 1", name=op.f("ck_review_step_one_thing")),
        sa.ForeignKeyConstraint(["actor"], ["account.id"], name=op.f("fk_review_step_actor_account")),
        sa.ForeignKeyConstraint(["conflict_id"], ["conflict.id"], name=op.f("fk_review_step_conflict_id_conflict")),
        sa.ForeignKeyConstraint(
            ["quarantine_id"],
            ["quarantine.id"],
            name=op.f("fk_review_step_quarantine_id_quarantine"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_step")),
    )
    op.create_index("uq_review_step_conflict_id_number", "review_step", ["conflict_id", "number"], unique=True)
    op.create_index("uq_review_step_quarantine_id_number", "review_step", ["quarantine_id", "number"], unique=True)
    op.add_column("conflict", sa.Column("review_seq", sa.BigInteger(), nullable=True))
    op.add_column("quarantine", sa.Column("review_seq", sa.BigInteger(), nullable=True))
    op.add_column("quarantine", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("mutation", "device_id", nullable=True)
    for table, waiting in (("conflict", "state IN ('open', 'contested')"), ("quarantine", "state = 'open'")):
        op.create_index(f"ix_{table}_waiting", table, ["id"], postgresql_where=sa.text(waiting))
        op.create_index(
            f"ix_{table}_reviewed",
            table,
            ["account_id", "review_seq"],
            postgresql_where=sa.text("review_seq IS NOT NULL"),
        )


def _grant() -> None:
    """Steps are appended only; of a conflict nothing changes but where it stands, whoever asks."""
    op.execute("GRANT SELECT, INSERT ON review_step TO zw_api, zw_worker")
    op.execute("GRANT SELECT, INSERT, UPDATE ON review_counter TO zw_api, zw_worker")
    op.execute("REVOKE UPDATE ON conflict FROM zw_api, zw_worker")
    op.execute("GRANT UPDATE (state, review_seq) ON conflict TO zw_api, zw_worker")
    op.execute("REVOKE UPDATE ON quarantine FROM zw_api")
    op.execute("GRANT UPDATE (state, review_seq, decided_at) ON quarantine TO zw_api")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in READS:
        op.execute(f"DROP POLICY review_read ON {table}")
    for table in INSERTS:
        op.execute(f"DROP POLICY review_insert ON {table}")
    for table in UPDATES:
        op.execute(f"DROP POLICY review_update ON {table}")
    for table, readable in OLD_READS.items():
        op.execute(f"ALTER POLICY api_read ON {table} USING ({readable})")
    op.execute("GRANT UPDATE ON conflict TO zw_api, zw_worker")
    op.execute("GRANT UPDATE ON quarantine TO zw_api")
    for table in ("conflict", "quarantine"):
        op.drop_index(f"ix_{table}_reviewed", table)
        op.drop_index(f"ix_{table}_waiting", table)
    op.execute("DELETE FROM mutation WHERE device_id IS NULL")
    op.alter_column("mutation", "device_id", nullable=False)
    op.drop_column("quarantine", "decided_at")
    op.drop_column("quarantine", "review_seq")
    op.drop_column("conflict", "review_seq")
    op.drop_table("review_step")
    op.drop_table("review_counter")
    for name, (arguments, _) in FUNCTIONS.items():
        op.execute(f"DROP FUNCTION {name}({arguments})")
