"""No change of a document without its feed row: what a replica never hears of cannot be committed.

A deferred constraint trigger looks, for each inserted or changed row, for the feed row of its grid that was written in
the same transaction, of both grids where it moved. A change is what a replica would see or what orders the versions:
kind, grid, version, op, deleted, body and ciphertext. New ciphertext of the same content counts too, because the
database cannot tell the two apart; data keys are rewrapped elsewhere and change no document. Search indexes and the
columns about who wrote when do not count.

`written_in` is the transaction that last numbered the feed row. `xmin` would not do: in a savepoint it is another.

Revision ID: 0020
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0012"
branch_labels = None
depends_on = None

FUNCTION = """
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
CHANGED = """WHEN (
    (OLD.version, OLD.op, OLD.grid_id, OLD.kind, OLD.deleted, OLD.sealed, OLD.body::text)
    IS DISTINCT FROM (NEW.version, NEW.op, NEW.grid_id, NEW.kind, NEW.deleted, NEW.sealed, NEW.body::text))"""
TRIGGERS = {"document_fed_on_insert": ("INSERT OR DELETE", ""), "document_fed_on_update": ("UPDATE", CHANGED)}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("feed", sa.Column("written_in", sa.BigInteger(), nullable=True))
    op.execute(FUNCTION)
    op.execute("REVOKE ALL ON FUNCTION zw_feed_tells() FROM PUBLIC")
    for name, (events, when) in TRIGGERS.items():
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {name} AFTER {events} ON document DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW {when} EXECUTE FUNCTION zw_feed_tells()"
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON document")
    op.execute("DROP FUNCTION zw_feed_tells()")
    op.drop_column("feed", "written_in")
