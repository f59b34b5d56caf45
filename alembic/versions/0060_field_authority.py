"""Field authority: which fields departments have written, and requests to verify what handhelds propose for them.

A request is seen where its record is seen, and by the department whose dataset the field belongs to. The department
sees and writes the record too, but only where the call is about that request (`zw.review`). The function that looks
asks past the row policies, because those of documents and of requests would look at each other for ever.

Revision ID: 0060
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0031"
branch_labels = None
depends_on = None

ASKED = """
CREATE FUNCTION zw_asked(document uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM verification_request v JOIN dataset s ON s.code = v.dataset
        WHERE v.document_id = document AND s.department_code = zw_department())
$$
"""
OWN_DEVICE = "device_id = (SELECT zw_device())"
OWN_ACCOUNT = "account_id = (SELECT zw_account()) AND (SELECT zw_reaches('self'))"
OWN_DATASET = "dataset IN (SELECT s.code FROM dataset s WHERE s.department_code = (SELECT zw_department()))"
REVIEWED = "document_id = ANY ((SELECT zw_reviewed())::uuid[])"
BY_DEPARTMENT = "(SELECT zw_department()) IS NOT NULL AND {0} = ANY ((SELECT zw_reviewed())::uuid[]) AND zw_asked({0})"
STEP_OF_SEEN = """EXISTS (SELECT FROM conflict c WHERE c.id = conflict_id)
    OR EXISTS (SELECT FROM quarantine q WHERE q.id = quarantine_id)"""
STEP_OF_SEEN_TOO = f"{STEP_OF_SEEN} OR EXISTS (SELECT FROM verification_request v WHERE v.id = verification_id)"
WRITTEN = {"document": "id", "document_version": "document_id", "feed": "document_id"}
UPDATED = ("document", "feed")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_tables()
    op.execute(ASKED)
    op.execute("REVOKE ALL ON FUNCTION zw_asked(uuid) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION zw_asked(uuid) TO zw_api, zw_worker")
    op.execute("GRANT SELECT, INSERT, UPDATE ON field_authority TO zw_api, zw_worker")
    op.execute("GRANT SELECT, INSERT, UPDATE (state, review_seq) ON verification_request TO zw_api, zw_worker")
    _wall_requests()
    op.execute(f"CREATE POLICY asked_read ON document FOR SELECT TO zw_api USING ({BY_DEPARTMENT.format('id')})")
    for table, column in WRITTEN.items():
        check = BY_DEPARTMENT.format(column)
        op.execute(f"CREATE POLICY asked_insert ON {table} FOR INSERT TO zw_api WITH CHECK ({check})")
        if table in UPDATED:
            op.execute(
                f"CREATE POLICY asked_update ON {table} FOR UPDATE TO zw_api USING ({check}) WITH CHECK ({check})"
            )
    _let_steps(STEP_OF_SEEN_TOO)


def _create_tables() -> None:
    op.create_table(
        "field_authority",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("field", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_field_authority_account_id_account")),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name=op.f("fk_field_authority_document_id_document")),
        sa.PrimaryKeyConstraint("document_id", "field", name=op.f("pk_field_authority")),
    )
    op.create_table(
        "verification_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("op", sa.Uuid(), nullable=False),
        sa.Column("field", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sides", sa.LargeBinary(), nullable=True),
        sa.Column("photos", sa.JSON(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("review_seq", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_verification_request_account_id_account")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_verification_request_device_id_device")),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_verification_request_document_id_document")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification_request")),
    )
    table = "verification_request"
    op.create_index(f"uq_{table}_document_id_op_field", table, ["document_id", "op", "field"], unique=True)
    op.create_index(f"ix_{table}_waiting", table, ["id"], postgresql_where=sa.text("state = 'open'"))
    reviewed = sa.text("review_seq IS NOT NULL")
    op.create_index(f"ix_{table}_reviewed", table, ["account_id", "review_seq"], postgresql_where=reviewed)
    op.add_column("review_step", sa.Column("verification_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_review_step_verification_id_verification_request"), "review_step", table, ["verification_id"], ["id"]
    )
    op.create_index("uq_review_step_verification_id_number", "review_step", ["verification_id", "number"], unique=True)
    _one_thing("conflict_id, quarantine_id, verification_id")


def _wall_requests() -> None:
    table = "verification_request"
    seen = f"{OWN_DEVICE} OR {OWN_ACCOUNT} OR {OWN_DATASET} OR EXISTS (SELECT FROM document d WHERE d.id = document_id)"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY worker ON {table} TO zw_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY api_read ON {table} FOR SELECT TO zw_api USING ({seen})")
    op.execute(f"CREATE POLICY api_insert ON {table} FOR INSERT TO zw_api WITH CHECK ({OWN_DEVICE} OR {REVIEWED})")
    op.execute(
        f"CREATE POLICY review_update ON {table} FOR UPDATE TO zw_api USING ({REVIEWED}) WITH CHECK ({REVIEWED})"
    )


def _one_thing(columns: str) -> None:
    op.drop_constraint(op.f("ck_review_step_one_thing"), "review_step", type_="check")
    op.create_check_constraint(op.f("ck_review_step_one_thing"), "review_step", f"num_nonnulls({columns}) = 1")


def _let_steps(seen: str) -> None:
    op.execute(f"ALTER POLICY api_read ON review_step USING ({seen})")
    op.execute(f"ALTER POLICY api_insert ON review_step WITH CHECK (actor = (SELECT zw_account()) AND ({seen}))")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _let_steps(STEP_OF_SEEN)
    for table in WRITTEN:
        op.execute(f"DROP POLICY asked_insert ON {table}")
        if table in UPDATED:
            op.execute(f"DROP POLICY asked_update ON {table}")
    op.execute("DROP POLICY asked_read ON document")
    op.execute("DELETE FROM review_step WHERE verification_id IS NOT NULL")
    _one_thing("conflict_id, quarantine_id")
    op.drop_column("review_step", "verification_id")
    op.drop_table("verification_request")
    op.drop_table("field_authority")
    op.execute("DROP FUNCTION zw_asked(uuid)")
