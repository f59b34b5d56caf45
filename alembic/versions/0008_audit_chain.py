"""Sealed batches of the audit trail, and the one way in which entries are ever dropped.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# The owner's right to delete, lent to the worker for whole batches that are old enough, and for nothing else. The
# 183 days stand here and not in a setting, so that no setting and no caller can shorten them. The worker writes batches
# and seals itself, so what these say of their age is not believed: each entry of the batch must be there and say for
# itself that it is old, and the batch must not claim to be sealed before the one before it. All in one statement, whose
# parts see the same rows: a seal that another connection adds meanwhile takes no entry with it.
DROP_BATCHES = """
CREATE FUNCTION audit_drop_batches(before timestamptz, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped bigint;
BEGIN
    IF before IS NULL OR before > pg_catalog.now() - interval '183 days' THEN
        RAISE EXCEPTION 'audit entries are kept for at least 183 days' USING ERRCODE = 'insufficient_privilege';
    END IF;
    WITH old AS MATERIALIZED (
        SELECT b.number FROM public.audit_batch b
        WHERE b.sealed_at < before AND b.last_at < before
          AND NOT EXISTS (SELECT FROM public.audit_drop d WHERE d.batch = b.number)
          AND (b.number = 1 OR b.sealed_at >= (
              SELECT p.sealed_at FROM public.audit_batch p WHERE p.number = b.number - 1))
          AND (SELECT count(*) = b.entry_count AND count(e.id) = b.entry_count AND max(e.at) < before
               FROM public.audit_seal s LEFT JOIN public.audit_entry e ON e.id = s.entry_id WHERE s.batch = b.number)
        ORDER BY b.number LIMIT at_most
    ), gone AS (
        DELETE FROM public.audit_seal s USING old WHERE s.batch = old.number
        RETURNING s.batch, s.position, s.entry_id, s.entry_hash
    ), noted AS (
        INSERT INTO public.audit_drop (batch, dropped_at, hashes)
        SELECT g.batch, pg_catalog.now(), string_agg(g.entry_hash, ''::bytea ORDER BY g.position)
        FROM gone g GROUP BY g.batch
    ), deleted AS (
        DELETE FROM public.audit_entry e USING gone WHERE e.id = gone.entry_id RETURNING e.id
    )
    SELECT count(*) INTO dropped FROM deleted;
    RETURN dropped;
END $$
"""

STATEMENTS = (
    DROP_BATCHES,
    "REVOKE ALL ON FUNCTION audit_drop_batches(timestamptz, integer) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION audit_drop_batches(timestamptz, integer) TO zw_worker",
    "GRANT SELECT ON audit_batch, audit_seal, audit_drop TO zw_api, zw_worker",
    "GRANT INSERT ON audit_batch, audit_seal TO zw_worker",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "audit_batch",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("previous_head", sa.LargeBinary(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("entry_count", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_batch")),
    )
    op.create_table(
        "audit_seal",
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("entry_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_seal")),
    )
    op.create_index("uq_audit_seal_batch_position", "audit_seal", ["batch", "position"], unique=True)
    op.create_table(
        "audit_drop",
        sa.Column("batch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("batch", name=op.f("pk_audit_drop")),
    )
    op.create_index("ix_audit_entry_actor_at", "audit_entry", ["actor", "at"], unique=False)
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP FUNCTION audit_drop_batches(timestamptz, integer)")
    op.drop_index("ix_audit_entry_actor_at", table_name="audit_entry")
    op.drop_table("audit_drop")
    op.drop_index("uq_audit_seal_batch_position", table_name="audit_seal")
    op.drop_table("audit_seal")
    op.drop_table("audit_batch")
