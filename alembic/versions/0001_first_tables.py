"""The first tables, the roles that use them, and what each role may do.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLES = ("zw_api", "zw_worker")

CREATE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
    IF NOT pg_has_role(current_user, '{role}', 'MEMBER') THEN
        GRANT {role} TO current_user;
    END IF;
END $$
"""

APPEND_ONLY = "audit_entry, document_version, case_step, mutation, verdict"
WRITTEN_BY_API = (
    "enrolment_code, device, session_family, document, conflict, quarantine, feed_counter, feed, job, subject_key, "
    "photo, photo_link, upload, snapshot, case_file, wechat_message, notice"
)
# The worker's login is also that of the command line, which seeds and makes accounts: so it may write almost all.
WRITTEN_BY_WORKER = (
    "document, conflict, quarantine, feed_counter, feed, job, beat_slot, subject_key, photo, photo_link, derivative, "
    "upload, dataset, snapshot, business_record, rule_set, case_file, citizen, report, wechat_message, notice, "
    "territory_unit, department, grid, membership, account, event_class, case_queue, registration_standard, "
    "routing_rule, calendar_day, server_state"
)
GRANTS = (
    "GRANT USAGE ON SCHEMA public TO zw_api, zw_worker",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO zw_api, zw_worker",
    f"GRANT INSERT ON {APPEND_ONLY} TO zw_api, zw_worker",
    f"GRANT INSERT, UPDATE ON {WRITTEN_BY_API} TO zw_api",
    f"GRANT INSERT, UPDATE ON {WRITTEN_BY_WORKER} TO zw_worker",
    "GRANT UPDATE (push_target, push_target_kind) ON device TO zw_worker",
    "GRANT DELETE ON upload TO zw_api, zw_worker",
    "GRANT DELETE ON beat_slot, job, business_record, derivative TO zw_worker",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for role in ROLES:
        op.execute(CREATE_ROLE.format(role=role))
    create_tables()
    for statement in GRANTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    drop_tables()


def create_tables() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object_type", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    op.create_index(op.f("ix_audit_entry_at"), "audit_entry", ["at"], unique=False)
    op.create_index(op.f("ix_audit_entry_object_id"), "audit_entry", ["object_id"], unique=False)
    op.create_table(
        "beat_slot",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "slot", name=op.f("pk_beat_slot")),
    )
    op.create_table(
        "calendar_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("is_working", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_calendar_day")),
    )
    op.create_table(
        "citizen",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("openid_index", sa.LargeBinary(), nullable=False),
        sa.Column("openid", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_citizen")),
        sa.UniqueConstraint("openid_index", name=op.f("uq_citizen_openid_index")),
    )
    op.create_table(
        "event_class",
        sa.Column("scheme", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("parent_code", sa.String(length=16), nullable=True),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("scheme", "code", name=op.f("pk_event_class")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("ready", "running", "done", "dead", name="jobstate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(
        "ix_job_waiting",
        "job",
        ["name", "priority", "attempts", "not_before"],
        unique=False,
        postgresql_where=sa.text("state IN ('ready', 'running')"),
    )
    op.create_index("uq_job_name_key", "job", ["name", "key"], unique=True)
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("recipient_type", sa.String(length=16), nullable=False),
        sa.Column("recipient_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("template", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("send_result", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index("ix_notice_recipient_id_id", "notice", ["recipient_id", "id"], unique=False)
    op.create_index("uq_notice_recipient_id_key", "notice", ["recipient_id", "key"], unique=True)
    op.create_table(
        "photo_link",
        sa.Column(
            "source_type",
            sa.Enum("document", "report", name="sourcetype", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("source_type", "source_id", "photo_id", name=op.f("pk_photo_link")),
    )
    op.create_index("ix_photo_link_photo_id", "photo_link", ["photo_id"], unique=False)
    op.create_table(
        "registration_standard",
        sa.Column("scheme", sa.String(length=32), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("class_code", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("limit_amount", sa.Integer(), nullable=False),
        sa.Column(
            "limit_clock",
            sa.Enum(
                "urgent_hours",
                "work_hours",
                "work_days",
                "natural_days",
                name="clockkind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("closing_condition", sa.String(length=255), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("scheme", "code", name=op.f("pk_registration_standard")),
    )
    op.create_index(op.f("ix_registration_standard_class_code"), "registration_standard", ["class_code"], unique=False)
    op.create_table(
        "routing_rule",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("queue_code", sa.String(length=32), nullable=False),
        sa.Column("standard_scheme", sa.String(length=32), nullable=False),
        sa.Column("standard_code", sa.String(length=32), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing_rule")),
    )
    op.create_index(op.f("ix_routing_rule_position"), "routing_rule", ["position"], unique=False)
    op.create_table(
        "rule_set",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_rule_set")),
    )
    op.create_table(
        "server_state",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_state")),
    )
    op.create_table(
        "subject_key",
        sa.Column("subject_id", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_subject_key")),
    )
    op.create_table(
        "territory_unit",
        sa.Column("code", sa.String(length=12), nullable=False),
        sa.Column("scheme", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("parent_code", sa.String(length=12), nullable=True),
        sa.ForeignKeyConstraint(
            ["parent_code"], ["territory_unit.code"], name=op.f("fk_territory_unit_parent_code_territory_unit")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_territory_unit")),
    )
    op.create_index(op.f("ix_territory_unit_parent_code"), "territory_unit", ["parent_code"], unique=False)
    op.create_table(
        "department",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("territory_code", sa.String(length=12), nullable=True),
        sa.ForeignKeyConstraint(
            ["territory_code"], ["territory_unit.code"], name=op.f("fk_department_territory_code_territory_unit")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_department")),
    )
    op.create_table(
        "verdict",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "source_type",
            sa.Enum("document", "report", name="sourcetype", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_version", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "person",
                "house",
                "organisation",
                "component",
                "event",
                "case",
                name="kind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("grid_id", sa.String(length=15), nullable=True),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column(
            "verdict",
            sa.Enum(
                "match",
                "differs",
                "name_differs",
                "ambiguous",
                "not_found",
                "id_self_inconsistent",
                "address_unknown",
                "out_of_grid",
                "flag_conflict",
                "moved",
                "duplicate",
                "rental_hazard",
                "organisation_closed",
                "component_unknown",
                "class_unknown",
                "accepted",
                name="verdictkind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("snapshots", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["rule_version"], ["rule_set.version"], name=op.f("fk_verdict_rule_version_rule_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict")),
    )
    op.create_index(op.f("ix_verdict_grid_id"), "verdict", ["grid_id"], unique=False)
    op.create_index(
        "uq_verdict_source", "verdict", ["source_type", "source_id", "source_version", "rule_version"], unique=True
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("login", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=64), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "grid_worker",
                "operator",
                "dispatcher",
                "department_handler",
                "supervisor",
                "data_steward",
                "auditor",
                "security_admin",
                "system_admin",
                name="role",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("territory_code", sa.String(length=12), nullable=False),
        sa.Column("department_code", sa.String(length=32), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["department_code"], ["department.code"], name=op.f("fk_account_department_code_department")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("login", name=op.f("uq_account_login")),
    )
    op.create_table(
        "case_queue",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("territory_code", sa.String(length=12), nullable=False),
        sa.Column("department_code", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["department_code"], ["department.code"], name=op.f("fk_case_queue_department_code_department")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_case_queue")),
    )
    op.create_table(
        "dataset",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("department_code", sa.String(length=32), nullable=False),
        sa.Column("legal_basis", sa.String(length=255), nullable=False),
        sa.Column("current_snapshot_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["department_code"], ["department.code"], name=op.f("fk_dataset_department_code_department")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_dataset")),
    )
    op.create_table(
        "grid",
        sa.Column("id", sa.String(length=15), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("community_code", sa.String(length=12), nullable=False),
        sa.Column("responsible_unit", sa.String(length=32), nullable=False),
        sa.Column("polygon", sa.JSON(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["community_code"], ["territory_unit.code"], name=op.f("fk_grid_community_code_territory_unit")
        ),
        sa.ForeignKeyConstraint(
            ["responsible_unit"], ["department.code"], name=op.f("fk_grid_responsible_unit_department")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grid")),
    )
    op.create_index(op.f("ix_grid_community_code"), "grid", ["community_code"], unique=False)
    op.create_table(
        "case_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "source_type",
            sa.Enum("document", "report", name="sourcetype", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_version", sa.Integer(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("verdict_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=True),
        sa.Column("h3_cell", sa.String(length=16), nullable=True),
        sa.Column("queue_code", sa.String(length=32), nullable=False),
        sa.Column("standard_scheme", sa.String(length=32), nullable=False),
        sa.Column("standard_code", sa.String(length=32), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "reported",
                "accepted",
                "registered",
                "dispatched",
                "handling",
                "checking",
                "closed",
                "rejected",
                name="casestate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("similar_to", sa.Uuid(), nullable=True),
        sa.Column("department_code", sa.String(length=32), nullable=True),
        sa.Column("claimed_by", sa.Uuid(), nullable=True),
        sa.Column("collected_by", sa.Uuid(), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["claimed_by"], ["account.id"], name=op.f("fk_case_file_claimed_by_account")),
        sa.ForeignKeyConstraint(["collected_by"], ["account.id"], name=op.f("fk_case_file_collected_by_account")),
        sa.ForeignKeyConstraint(
            ["department_code"], ["department.code"], name=op.f("fk_case_file_department_code_department")
        ),
        sa.ForeignKeyConstraint(["grid_id"], ["grid.id"], name=op.f("fk_case_file_grid_id_grid")),
        sa.ForeignKeyConstraint(["queue_code"], ["case_queue.code"], name=op.f("fk_case_file_queue_code_case_queue")),
        sa.ForeignKeyConstraint(["similar_to"], ["case_file.id"], name=op.f("fk_case_file_similar_to_case_file")),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_case_file_verdict_id_verdict")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_file")),
    )
    op.create_index(op.f("ix_case_file_grid_id"), "case_file", ["grid_id"], unique=False)
    op.create_index("ix_case_file_h3_cell_opened_at", "case_file", ["h3_cell", "opened_at"], unique=False)
    op.create_index(
        "ix_case_file_queue_code_state_deadline_at", "case_file", ["queue_code", "state", "deadline_at"], unique=False
    )
    op.create_index(
        "uq_case_file_open",
        "case_file",
        ["source_type", "source_id", "reason"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index(
        "uq_case_file_source", "case_file", ["source_type", "source_id", "source_version", "rule_version"], unique=True
    )
    op.create_table(
        "device",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.JSON(), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("skew_ms", sa.BigInteger(), nullable=False),
        sa.Column("push_target", sa.String(length=512), nullable=True),
        sa.Column("push_target_kind", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_device_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
    )
    op.create_index(op.f("ix_device_account_id"), "device", ["account_id"], unique=False)
    op.create_table(
        "enrolment_code",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_enrolment_code_account_id_account")),
        sa.ForeignKeyConstraint(["created_by"], ["account.id"], name=op.f("fk_enrolment_code_created_by_account")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_enrolment_code")),
    )
    op.create_table(
        "feed",
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "person",
                "house",
                "organisation",
                "component",
                "event",
                "case",
                name="kind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["grid_id"], ["grid.id"], name=op.f("fk_feed_grid_id_grid")),
        sa.PrimaryKeyConstraint("grid_id", "document_id", name=op.f("pk_feed")),
    )
    op.create_index("uq_feed_grid_id_kind_seq", "feed", ["grid_id", "kind", "seq", "document_id"], unique=True)
    op.create_table(
        "feed_counter",
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["grid_id"], ["grid.id"], name=op.f("fk_feed_counter_grid_id_grid")),
        sa.PrimaryKeyConstraint("grid_id", name=op.f("pk_feed_counter")),
    )
    op.create_table(
        "membership",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_membership_account_id_account")),
        sa.ForeignKeyConstraint(["grid_id"], ["grid.id"], name=op.f("fk_membership_grid_id_grid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
    )
    op.create_index(op.f("ix_membership_account_id"), "membership", ["account_id"], unique=False)
    op.create_index(op.f("ix_membership_grid_id"), "membership", ["grid_id"], unique=False)
    op.create_index("uq_membership_account_grid_epoch", "membership", ["account_id", "grid_id", "epoch"], unique=True)
    op.create_table(
        "photo",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mime", sa.String(length=64), nullable=False),
        sa.Column(
            "state",
            sa.Enum("expected", "received", "processed", "failed", name="photostate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("failure", sa.String(length=32), nullable=True),
        sa.Column("original_key", sa.String(length=255), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claims", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name=op.f("fk_photo_owner_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo")),
    )
    op.create_index(op.f("ix_photo_sha256"), "photo", ["sha256"], unique=False)
    op.create_table(
        "report",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("citizen_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("assembling", "submitted", name="reportstate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("grid_id", sa.String(length=15), nullable=True),
        sa.Column("h3_cell", sa.String(length=16), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["citizen_id"], ["citizen.id"], name=op.f("fk_report_citizen_id_citizen")),
        sa.ForeignKeyConstraint(["grid_id"], ["grid.id"], name=op.f("fk_report_grid_id_grid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
    )
    op.create_index(op.f("ix_report_citizen_id"), "report", ["citizen_id"], unique=False)
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dataset_code", sa.String(length=32), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "state",
            sa.Enum("loading", "current", "superseded", "failed", name="importstate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("reject_key", sa.String(length=255), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("failure", sa.String(length=64), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["dataset_code"], ["dataset.code"], name=op.f("fk_snapshot_dataset_code_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
    )
    op.create_index(op.f("ix_snapshot_dataset_code"), "snapshot", ["dataset_code"], unique=False)
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("durable_offset", sa.BigInteger(), nullable=False),
        sa.Column("declared", sa.JSON(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name=op.f("fk_upload_owner_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
    )
    op.create_index(op.f("ix_upload_photo_id"), "upload", ["photo_id"], unique=False)
    op.create_table(
        "business_record",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("snapshot_id", sa.Uuid(), nullable=False),
        sa.Column("record_key", sa.String(length=64), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_index", sa.LargeBinary(), nullable=True),
        sa.Column("block_index", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.id"], name=op.f("fk_business_record_snapshot_id_snapshot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_business_record")),
    )
    op.create_index(
        "ix_business_record_snapshot_id_block_index", "business_record", ["snapshot_id", "block_index"], unique=False
    )
    op.create_index(
        "ix_business_record_snapshot_id_phone_index", "business_record", ["snapshot_id", "phone_index"], unique=False
    )
    op.create_index(
        "uq_business_record_snapshot_id_record_key", "business_record", ["snapshot_id", "record_key"], unique=True
    )
    op.create_table(
        "case_step",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column(
            "from_state",
            sa.Enum(
                "reported",
                "accepted",
                "registered",
                "dispatched",
                "handling",
                "checking",
                "closed",
                "rejected",
                name="casestate",
                native_enum=False,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column(
            "to_state",
            sa.Enum(
                "reported",
                "accepted",
                "registered",
                "dispatched",
                "handling",
                "checking",
                "closed",
                "rejected",
                name="casestate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("verdict_id", sa.Uuid(), nullable=True),
        sa.Column("department_code", sa.String(length=32), nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"], name=op.f("fk_case_step_case_id_case_file")),
        sa.ForeignKeyConstraint(
            ["department_code"], ["department.code"], name=op.f("fk_case_step_department_code_department")
        ),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_case_step_verdict_id_verdict")),
        sa.PrimaryKeyConstraint("case_id", "version", name=op.f("pk_case_step")),
    )
    op.create_index("uq_case_step_verdict_id", "case_step", ["verdict_id"], unique=True)
    op.create_table(
        "derivative",
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("variant", sa.String(length=16), nullable=False),
        sa.Column("storage_key", sa.String(length=255), nullable=False),
        sa.Column("mime", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_derivative_photo_id_photo")),
        sa.PrimaryKeyConstraint("photo_id", "variant", name=op.f("pk_derivative")),
    )
    op.create_table(
        "document",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "person",
                "house",
                "organisation",
                "component",
                "event",
                "case",
                name="kind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("op", sa.Uuid(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("id_index", sa.LargeBinary(), nullable=True),
        sa.Column("phone_index", sa.LargeBinary(), nullable=True),
        sa.Column("block_index", sa.LargeBinary(), nullable=True),
        sa.Column("natural_key", sa.String(length=64), nullable=True),
        sa.Column("h3_cell", sa.String(length=16), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_document_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_document_device_id_device")),
        sa.ForeignKeyConstraint(["grid_id"], ["grid.id"], name=op.f("fk_document_grid_id_grid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
    )
    op.create_index(op.f("ix_document_block_index"), "document", ["block_index"], unique=False)
    op.create_index("ix_document_grid_id_kind", "document", ["grid_id", "kind"], unique=False)
    op.create_index(op.f("ix_document_id_index"), "document", ["id_index"], unique=False)
    op.create_index("ix_document_kind_h3_cell", "document", ["kind", "h3_cell"], unique=False)
    op.create_index("ix_document_kind_natural_key", "document", ["kind", "natural_key"], unique=False)
    op.create_index(op.f("ix_document_phone_index"), "document", ["phone_index"], unique=False)
    op.create_table(
        "mutation",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("op", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "person",
                "house",
                "organisation",
                "component",
                "event",
                "case",
                name="kind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column(
            "outcome",
            sa.Enum(
                "applied",
                "merged",
                "conflict",
                "unchanged",
                "quarantined",
                name="outcome",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("base_version", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("pushed", sa.LargeBinary(), nullable=True),
        sa.Column("pushed_body", sa.JSON(), nullable=True),
        sa.Column("client_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_mutation_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_mutation_device_id_device")),
        sa.PrimaryKeyConstraint("document_id", "op", name=op.f("pk_mutation")),
    )
    op.create_index("ix_mutation_device_id_seq", "mutation", ["device_id", "seq"], unique=False)
    op.create_index("ix_mutation_document_id_device_id", "mutation", ["document_id", "device_id"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "person",
                "house",
                "organisation",
                "component",
                "event",
                "case",
                name="kind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("op", sa.Uuid(), nullable=True),
        sa.Column("grid_id", sa.String(length=15), nullable=True),
        sa.Column(
            "code",
            sa.Enum(
                "op_reused",
                "out_of_scope",
                "past_membership",
                "unknown_grid",
                "invalid",
                "unreadable",
                "row_too_large",
                "id_taken",
                name="quarantinecode",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("places", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("open", "resolved", "rejected", name="reviewstate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_quarantine_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_quarantine_device_id_device")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    op.create_index("ix_quarantine_device_id_state_id", "quarantine", ["device_id", "state", "id"], unique=False)
    op.create_index(op.f("ix_quarantine_document_id"), "quarantine", ["document_id"], unique=False)
    op.create_index("uq_quarantine_device_id_fingerprint", "quarantine", ["device_id", "fingerprint"], unique=True)
    op.create_table(
        "session_family",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_reason", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_session_family_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_session_family_device_id_device")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_family")),
    )
    op.create_index(op.f("ix_session_family_account_id"), "session_family", ["account_id"], unique=False)
    op.create_index(op.f("ix_session_family_device_id"), "session_family", ["device_id"], unique=False)
    op.create_table(
        "wechat_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_key", sa.LargeBinary(), nullable=False),
        sa.Column("sender_index", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_wechat_message_report_id_report")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wechat_message")),
        sa.UniqueConstraint("message_key", name=op.f("uq_wechat_message_message_key")),
    )
    op.create_index(
        "ix_wechat_message_sender_index_sent_at", "wechat_message", ["sender_index", "sent_at"], unique=False
    )
    op.create_table(
        "conflict",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "person",
                "house",
                "organisation",
                "component",
                "event",
                "case",
                name="kind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("op", sa.Uuid(), nullable=False),
        sa.Column("field", sa.String(length=64), nullable=False),
        sa.Column("hardness", sa.Enum("hard", "soft", name="hardness", native_enum=False, length=32), nullable=False),
        sa.Column("sides", sa.LargeBinary(), nullable=True),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("open", "resolved", "rejected", name="reviewstate", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_conflict_account_id_account")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_conflict_device_id_device")),
        sa.ForeignKeyConstraint(["document_id"], ["document.id"], name=op.f("fk_conflict_document_id_document")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conflict")),
    )
    op.create_index(op.f("ix_conflict_grid_id"), "conflict", ["grid_id"], unique=False)
    op.create_index("uq_conflict_document_id_op_field", "conflict", ["document_id", "op", "field"], unique=True)
    op.create_table(
        "document_version",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("op", sa.Uuid(), nullable=False),
        sa.Column("grid_id", sa.String(length=15), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["document.id"], name=op.f("fk_document_version_document_id_document")
        ),
        sa.PrimaryKeyConstraint("document_id", "version", name=op.f("pk_document_version")),
    )
    op.create_index("uq_document_version_document_id_op", "document_version", ["document_id", "op"], unique=True)


def drop_tables() -> None:
    op.drop_index("uq_document_version_document_id_op", table_name="document_version")
    op.drop_table("document_version")
    op.drop_index("uq_conflict_document_id_op_field", table_name="conflict")
    op.drop_index(op.f("ix_conflict_grid_id"), table_name="conflict")
    op.drop_table("conflict")
    op.drop_index("ix_wechat_message_sender_index_sent_at", table_name="wechat_message")
    op.drop_table("wechat_message")
    op.drop_index(op.f("ix_session_family_device_id"), table_name="session_family")
    op.drop_index(op.f("ix_session_family_account_id"), table_name="session_family")
    op.drop_table("session_family")
    op.drop_index("uq_quarantine_device_id_fingerprint", table_name="quarantine")
    op.drop_index(op.f("ix_quarantine_document_id"), table_name="quarantine")
    op.drop_index("ix_quarantine_device_id_state_id", table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_index("ix_mutation_document_id_device_id", table_name="mutation")
    op.drop_index("ix_mutation_device_id_seq", table_name="mutation")
    op.drop_table("mutation")
    op.drop_index(op.f("ix_document_phone_index"), table_name="document")
    op.drop_index("ix_document_kind_natural_key", table_name="document")
    op.drop_index("ix_document_kind_h3_cell", table_name="document")
    op.drop_index(op.f("ix_document_id_index"), table_name="document")
    op.drop_index("ix_document_grid_id_kind", table_name="document")
    op.drop_index(op.f("ix_document_block_index"), table_name="document")
    op.drop_table("document")
    op.drop_table("derivative")
    op.drop_index("uq_case_step_verdict_id", table_name="case_step")
    op.drop_table("case_step")
    op.drop_index("uq_business_record_snapshot_id_record_key", table_name="business_record")
    op.drop_index("ix_business_record_snapshot_id_phone_index", table_name="business_record")
    op.drop_index("ix_business_record_snapshot_id_block_index", table_name="business_record")
    op.drop_table("business_record")
    op.drop_index(op.f("ix_upload_photo_id"), table_name="upload")
    op.drop_table("upload")
    op.drop_index(op.f("ix_snapshot_dataset_code"), table_name="snapshot")
    op.drop_table("snapshot")
    op.drop_index(op.f("ix_report_citizen_id"), table_name="report")
    op.drop_table("report")
    op.drop_index(op.f("ix_photo_sha256"), table_name="photo")
    op.drop_table("photo")
    op.drop_index("uq_membership_account_grid_epoch", table_name="membership")
    op.drop_index(op.f("ix_membership_grid_id"), table_name="membership")
    op.drop_index(op.f("ix_membership_account_id"), table_name="membership")
    op.drop_table("membership")
    op.drop_table("feed_counter")
    op.drop_index("uq_feed_grid_id_kind_seq", table_name="feed")
    op.drop_table("feed")
    op.drop_table("enrolment_code")
    op.drop_index(op.f("ix_device_account_id"), table_name="device")
    op.drop_table("device")
    op.drop_index("uq_case_file_source", table_name="case_file")
    op.drop_index("uq_case_file_open", table_name="case_file", postgresql_where=sa.text("closed_at IS NULL"))
    op.drop_index("ix_case_file_queue_code_state_deadline_at", table_name="case_file")
    op.drop_index("ix_case_file_h3_cell_opened_at", table_name="case_file")
    op.drop_index(op.f("ix_case_file_grid_id"), table_name="case_file")
    op.drop_table("case_file")
    op.drop_index(op.f("ix_grid_community_code"), table_name="grid")
    op.drop_table("grid")
    op.drop_table("dataset")
    op.drop_table("case_queue")
    op.drop_table("account")
    op.drop_index("uq_verdict_source", table_name="verdict")
    op.drop_index(op.f("ix_verdict_grid_id"), table_name="verdict")
    op.drop_table("verdict")
    op.drop_table("department")
    op.drop_index(op.f("ix_territory_unit_parent_code"), table_name="territory_unit")
    op.drop_table("territory_unit")
    op.drop_table("subject_key")
    op.drop_table("server_state")
    op.drop_table("rule_set")
    op.drop_index(op.f("ix_routing_rule_position"), table_name="routing_rule")
    op.drop_table("routing_rule")
    op.drop_index(op.f("ix_registration_standard_class_code"), table_name="registration_standard")
    op.drop_table("registration_standard")
    op.drop_index("ix_photo_link_photo_id", table_name="photo_link")
    op.drop_table("photo_link")
    op.drop_index("uq_notice_recipient_id_key", table_name="notice")
    op.drop_index("ix_notice_recipient_id_id", table_name="notice")
    op.drop_table("notice")
    op.drop_index("uq_job_name_key", table_name="job")
    op.drop_index("ix_job_waiting", table_name="job", postgresql_where=sa.text("state IN ('ready', 'running')"))
    op.drop_table("job")
    op.drop_table("event_class")
    op.drop_table("citizen")
    op.drop_table("calendar_day")
    op.drop_table("beat_slot")
    op.drop_index(op.f("ix_audit_entry_object_id"), table_name="audit_entry")
    op.drop_index(op.f("ix_audit_entry_at"), table_name="audit_entry")
    op.drop_table("audit_entry")
