"""Requests to erase, and the few functions by which history forgets those who were erased.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# They run with the owner's rights, so that our roles keep none to change history. Each looks for the tombstone
# itself: a caller cannot make it touch anybody who was not erased.
ERASE_HISTORY = """
CREATE FUNCTION erase_history(source text, ids uuid[]) RETURNS TABLE (part text, affected bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone uuid[];
BEGIN
    SELECT array_agg(wanted.id) INTO gone FROM unnest(ids) AS wanted (id)
    WHERE EXISTS (SELECT FROM public.erased_subject e WHERE e.subject_id = uuid_send(wanted.id));
    IF source = 'document' THEN
        UPDATE public.document_version SET deleted = true, body = '{}', sealed = NULL
        WHERE document_id = ANY(gone) AND (NOT deleted OR sealed IS NOT NULL OR body::text <> '{}');
        GET DIAGNOSTICS affected = ROW_COUNT; part := 'document_version'; RETURN NEXT;
        UPDATE public.mutation SET fingerprint = '', pushed = NULL, client_time = NULL,
               pushed_body = CASE WHEN pushed_body IS NULL THEN NULL ELSE '{}'::json END
        WHERE document_id = ANY(gone) AND (fingerprint <> '' OR pushed IS NOT NULL);
        GET DIAGNOSTICS affected = ROW_COUNT; part := 'mutation'; RETURN NEXT;
        UPDATE public.conflict SET sides = NULL, state = 'resolved'
        WHERE document_id = ANY(gone) AND (sides IS NOT NULL OR state = 'open');
        GET DIAGNOSTICS affected = ROW_COUNT; part := 'conflict'; RETURN NEXT;
    END IF;
    UPDATE public.verdict SET evidence = NULL
    WHERE source_type = source AND source_id = ANY(gone) AND evidence IS NOT NULL;
    GET DIAGNOSTICS affected = ROW_COUNT; part := 'verdict'; RETURN NEXT;
    UPDATE public.case_step SET note = NULL
    WHERE note IS NOT NULL AND case_id IN (SELECT c.id FROM public.case_file c
                                           WHERE c.source_type = source AND c.source_id = ANY(gone));
    GET DIAGNOSTICS affected = ROW_COUNT; part := 'case_step'; RETURN NEXT;
END $$
"""

ERASE_FINGERPRINTS = """
CREATE FUNCTION erase_fingerprints(subjects bytea[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone bytea[];
    affected bigint;
BEGIN
    SELECT array_agg(e.subject_id) INTO gone FROM public.erased_subject e WHERE e.subject_id = ANY(subjects);
    UPDATE public.mutation m SET fingerprint = ''
    WHERE m.fingerprint <> '' AND (
        EXISTS (SELECT FROM unnest(gone) AS g (subject) WHERE position(g.subject IN m.pushed) > 0)
        OR EXISTS (SELECT FROM public.quarantine q, unnest(gone) AS g (subject)
                   WHERE q.document_id = m.document_id AND q.op = m.op AND position(g.subject IN q.payload) > 0));
    GET DIAGNOSTICS affected = ROW_COUNT;
    RETURN affected;
END $$
"""

FUNCTIONS = ("erase_history(text, uuid[])", "erase_fingerprints(bytea[])")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "subject_type",
            sa.Enum("human", "document", "citizen", name="subjecttype", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("citizen_id", sa.Uuid(), nullable=True),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("id_index", sa.LargeBinary(), nullable=True),
        sa.Column(
            "reason",
            sa.Enum(
                "subject_request",
                "consent_withdrawn",
                "purpose_ended",
                "retention_over",
                "unlawful",
                name="erasurereason",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "requested",
                "refused",
                "approved",
                "erasing",
                "done",
                name="erasurestate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "decided_by IS NULL OR decided_by IS DISTINCT FROM requested_by", name=op.f("ck_erasure_two")
        ),
        sa.ForeignKeyConstraint(["decided_by"], ["account.id"], name=op.f("fk_erasure_decided_by_account")),
        sa.ForeignKeyConstraint(["requested_by"], ["account.id"], name=op.f("fk_erasure_requested_by_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
    )
    op.execute("GRANT SELECT, INSERT ON erasure TO zw_api, zw_worker")
    op.execute("GRANT UPDATE (state, decided_by, decided_at) ON erasure TO zw_api")
    op.execute("GRANT UPDATE ON erasure TO zw_worker")
    op.execute("GRANT DELETE ON photo, photo_link, quarantine, wechat_message, notice TO zw_worker")
    op.execute(ERASE_HISTORY)
    op.execute(ERASE_FINGERPRINTS)
    for function in FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO zw_worker")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.execute("REVOKE DELETE ON photo, photo_link, quarantine, wechat_message, notice FROM zw_worker")
    op.drop_table("erasure")
