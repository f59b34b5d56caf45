"""The wall of 0020 at a part of its cost: one look for a statement instead of one for each row.

A statement's changed documents are noted in `feed_due`, one row for each grid; at the commit a deferred trigger looks
for all their feed rows at once and removes the note. What counts as a change stays as it was. Only these functions
write the table. It is unlogged: a note that a crash could lose belongs to no transaction any more.

Revision ID: 0021
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0030"
branch_labels = None
depends_on = None

DEFINER = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
# Old and new rows of one statement. A row that changed its id stands in both without a partner.
CHANGED = """
    SELECT n.id, n.grid_id FROM fresh n LEFT JOIN stale o ON o.id = n.id
    WHERE (o.version, o.op, o.grid_id, o.kind, o.deleted, o.sealed, o.body::text)
          IS DISTINCT FROM (n.version, n.op, n.grid_id, n.kind, n.deleted, n.sealed, n.body::text)
    UNION ALL
    SELECT o.id, o.grid_id FROM stale o LEFT JOIN fresh n ON n.id = o.id
    WHERE n.id IS NULL OR o.grid_id <> n.grid_id"""
NOTED = {
    "INSERT": ("REFERENCING NEW TABLE AS fresh", "SELECT id, grid_id FROM fresh"),
    "UPDATE": ("REFERENCING OLD TABLE AS stale NEW TABLE AS fresh", CHANGED),
    "DELETE": ("REFERENCING OLD TABLE AS stale", "SELECT id, grid_id FROM stale"),
}
NOTE = """
CREATE FUNCTION zw_feed_due_{event}() RETURNS trigger {definer} AS $$
BEGIN
    INSERT INTO public.feed_due (id, grid_id, document_ids)
    SELECT gen_random_uuid(), changed.grid_id, array_agg(changed.id) FROM ({changed}) AS changed GROUP BY 2;
    RETURN NULL;
END $$
"""
# The feed grows for ever: each row is found by its whole key, whatever the planner knows of the table.
SETTLE = f"""
CREATE FUNCTION zw_feed_settle() RETURNS trigger {DEFINER}
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    heard bigint;
BEGIN
    SELECT count(*) INTO heard FROM unnest(NEW.document_ids) AS due (id)
    CROSS JOIN LATERAL (SELECT f.written_in FROM public.feed f
                        WHERE f.grid_id = NEW.grid_id AND f.document_id = due.id OFFSET 0) AS told
    WHERE told.written_in = txid_current();
    IF heard <> cardinality(NEW.document_ids) THEN
        RAISE EXCEPTION '% of % changed documents came to, changed in or left grid % without a feed row of it',
            cardinality(NEW.document_ids) - heard, cardinality(NEW.document_ids), NEW.grid_id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'document_is_fed', TABLE = 'document';
    END IF;
    DELETE FROM public.feed_due WHERE id = NEW.id;
    RETURN NULL;
END $$
"""
BEFORE = """
CREATE FUNCTION zw_feed_tells() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND NOT EXISTS (
        SELECT FROM public.feed f
        WHERE f.grid_id = NEW.grid_id AND f.document_id = NEW.id AND f.written_in = txid_current())
    THEN
        RAISE EXCEPTION 'document % changed without a feed row of its grid', NEW.id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'document_is_fed', TABLE = 'document';
    END IF;
    IF TG_OP <> 'INSERT' AND (TG_OP = 'DELETE' OR OLD.grid_id <> NEW.grid_id) AND NOT EXISTS (
        SELECT FROM public.feed f
        WHERE f.grid_id = OLD.grid_id AND f.document_id = OLD.id AND f.written_in = txid_current())
    THEN
        RAISE EXCEPTION 'document % left a grid without a feed row of it', OLD.id
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'document_is_fed', TABLE = 'document';
    END IF;
    RETURN NULL;
END $$
"""
BEFORE_WHEN = """WHEN (
    (OLD.version, OLD.op, OLD.grid_id, OLD.kind, OLD.deleted, OLD.sealed, OLD.body::text)
    IS DISTINCT FROM (NEW.version, NEW.op, NEW.grid_id, NEW.kind, NEW.deleted, NEW.sealed, NEW.body::text))"""
BEFORE_TRIGGERS = {
    "document_fed_on_insert": ("INSERT OR DELETE", ""),
    "document_fed_on_update": ("UPDATE", BEFORE_WHEN),
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in BEFORE_TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON document")
    op.execute("DROP FUNCTION zw_feed_tells()")
    op.create_table(
        "feed_due",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("grid_id", sa.Text(), nullable=False),
        sa.Column("document_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_due")),
        prefixes=["UNLOGGED"],
    )
    op.execute("ALTER TABLE feed_due ALTER document_ids SET STORAGE EXTERNAL")  # ids do not compress
    op.execute("GRANT SELECT ON feed_due TO zw_worker")
    for event, (tables, changed) in NOTED.items():
        name = event.lower()
        op.execute(NOTE.format(event=name, definer=DEFINER, changed=changed))
        op.execute(f"REVOKE ALL ON FUNCTION zw_feed_due_{name}() FROM PUBLIC")
        op.execute(
            f"CREATE TRIGGER document_due_{name} AFTER {event} ON document {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION zw_feed_due_{name}()"
        )
    op.execute(SETTLE)
    op.execute("REVOKE ALL ON FUNCTION zw_feed_settle() FROM PUBLIC")
    op.execute(
        "CREATE CONSTRAINT TRIGGER feed_due_settled AFTER INSERT ON feed_due DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION zw_feed_settle()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for event in NOTED:
        op.execute(f"DROP TRIGGER document_due_{event.lower()} ON document")
        op.execute(f"DROP FUNCTION zw_feed_due_{event.lower()}()")
    op.drop_table("feed_due")
    op.execute("DROP FUNCTION zw_feed_settle()")
    op.execute(BEFORE)
    op.execute("REVOKE ALL ON FUNCTION zw_feed_tells() FROM PUBLIC")
    for name, (events, when) in BEFORE_TRIGGERS.items():
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {name} AFTER {events} ON document DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW {when} EXECUTE FUNCTION zw_feed_tells()"
        )
