"""Closed vocabularies that more than one room speaks. Codes that a city may change live in tables instead."""

from enum import StrEnum


class Role(StrEnum):
    """What an account may be. Scope (which territory, which department) is on the account and its memberships."""

    GRID_WORKER = "grid_worker"
    OPERATOR = "operator"
    DISPATCHER = "dispatcher"
    HANDLER = "department_handler"
    SUPERVISOR = "supervisor"
    STEWARD = "data_steward"
    AUDITOR = "auditor"
    SECURITY_ADMIN = "security_admin"
    SYSTEM_ADMIN = "system_admin"
    DECLARATION_CHANNEL = "declaration_channel"


class Reach(StrEnum):
    """How far an operation reaches for a role: the words in the cells of `backend/services/permissions.csv`.

    `any`: there is no object, or it belongs to no place. `self`: what is the caller's own. `grid`: what lies in a grid
    the caller holds today. `territory`: what lies below the caller's division code. `department`: what was dispatched
    to the caller's department.
    """

    ANY = "any"
    SELF = "self"
    GRID = "grid"
    TERRITORY = "territory"
    DEPARTMENT = "department"


class Kind(StrEnum):
    """Collections a handheld replicates. The first five are collected; `case` and `task` are the server's to write."""

    PERSON = "person"
    HOUSE = "house"
    ORGANISATION = "organisation"
    COMPONENT = "component"
    EVENT = "event"
    CASE = "case"
    TASK = "task"


COLLECTED_KINDS = (Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION, Kind.COMPONENT, Kind.EVENT)


class Datum(StrEnum):
    """The geodetic datum a coordinate was given in; storage is always WGS-84."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    BD09 = "bd09"
    CGCS2000 = "cgcs2000"


class Outcome(StrEnum):
    """What became of one mutation. Every accepted mutation has exactly one."""

    APPLIED = "applied"
    MERGED = "merged"
    CONFLICT = "conflict"
    UNCHANGED = "unchanged"
    QUARANTINED = "quarantined"
    ERASED = "erased"


class QuarantineCode(StrEnum):
    """Why a row waits for a person instead of being applied. Listed in `docs/errors.md`."""

    OP_REUSED = "op_reused"
    OUT_OF_SCOPE = "out_of_scope"
    PAST_MEMBERSHIP = "past_membership"
    UNKNOWN_GRID = "unknown_grid"
    INVALID = "invalid"
    UNREADABLE = "unreadable"
    ROW_TOO_LARGE = "row_too_large"
    ID_TAKEN = "id_taken"


class Hardness(StrEnum):
    """A hard conflict changed the same field on both sides; a soft one merged cleanly over a stale base."""

    HARD = "hard"
    SOFT = "soft"


class ConflictState(StrEnum):
    """Where a conflict stands between those who decide it and the one who collected the value (`sync.review_rules`)."""

    OPEN = "open"
    RESOLVED = "resolved"
    ACCEPTED = "accepted"
    CONTESTED = "contested"


class QuarantineState(StrEnum):
    """What became of a quarantined row. `resolved`: its author pushed the record anew, corrected, and it went in."""

    OPEN = "open"
    RESOLVED = "resolved"
    RELEASED = "released"
    CORRECTED = "corrected"
    REJECTED = "rejected"


class VerificationState(StrEnum):
    """Where a department stands to the value that a handheld proposed for its field (`sync.verification_rules`)."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class TaskType(StrEnum):
    """What waits about an entry (domain.md, "Case life cycle"): a department looks at the value that was proposed for
    its field (核实), somebody checks before a case is closed whether the matter is settled (核查), or whoever holds the
    grid looks at a record on site before it becomes a case (上门核实)."""

    VERIFICATION = "verification"
    CHECK = "check"
    VISIT = "visit"


class TaskState(StrEnum):
    """Whether a task still waits. A decision that is taken back opens it again."""

    OPEN = "open"
    DONE = "done"


class TaskResult(StrEnum):
    """What came of a task: of a verification the first two, of a check the next two, of a visit the others."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    PASSED = "passed"
    NOT_PASSED = "not_passed"
    CONFIRMED = "confirmed"
    CORRECTED = "corrected"
    WITHDRAWN = "withdrawn"


DECLARED_KINDS = (Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION)
"""What somebody can declare about himself, his dwelling or his organisation."""


class SourceType(StrEnum):
    """Where an entry came from: a handheld's record, a citizen's report, or a declaration."""

    DOCUMENT = "document"
    REPORT = "report"
    DECLARATION = "declaration"


class DeclarationState(StrEnum):
    """A declaration is in force until it is withdrawn, or emptied because somebody was erased; it never comes back."""

    IN_FORCE = "in_force"
    WITHDRAWN = "withdrawn"


class WithdrawalReason(StrEnum):
    """Why a declaration is not in force any more. The last one is the system's own."""

    MISTAKE = "mistake"
    NO_LONGER_TRUE = "no_longer_true"
    DECLARANT_ASKED = "declarant_asked"
    ERASED = "erased"


class VerdictKind(StrEnum):
    """The result of one cross-check (domain.md, "Three sources, one truth")."""

    MATCH = "match"
    DIFFERS = "differs"
    SOURCES_DIFFER = "sources_differ"
    NAME_DIFFERS = "name_differs"
    AMBIGUOUS = "ambiguous"
    NOT_FOUND = "not_found"
    ID_SELF_INCONSISTENT = "id_self_inconsistent"
    ADDRESS_UNKNOWN = "address_unknown"
    OUT_OF_GRID = "out_of_grid"
    FLAG_CONFLICT = "flag_conflict"
    MOVED = "moved"
    DUPLICATE = "duplicate"
    RENTAL_HAZARD = "rental_hazard"
    ORGANISATION_CLOSED = "organisation_closed"
    COMPONENT_UNKNOWN = "component_unknown"
    CLASS_UNKNOWN = "class_unknown"
    ACCEPTED = "accepted"


class Course(StrEnum):
    """Where a verdict leads: the entry is accepted into the base library as it is, a worker looks on site, a case is
    open, or nothing is asked and nothing is said."""

    ACCEPTED = "accepted"
    VISIT = "visit"
    CASE = "case"
    NONE = "none"


class RecheckCause(StrEnum):
    """Why entries that have their verdict are checked again: a dataset has a new snapshot, other rules apply, or what
    the grid collected or somebody declared about the same has changed."""

    SNAPSHOT = "snapshot"
    RULES = "rules"
    COUNTERPART = "counterpart"


class RunState(StrEnum):
    """How far a run over many entries is: it looks for them (`spreading`), all are found and some not yet worked on
    (`working`), all are (`done`), or a person ended it."""

    SPREADING = "spreading"
    WORKING = "working"
    DONE = "done"
    CANCELLED = "cancelled"


class CaseState(StrEnum):
    """Stages of a case (GB/T 30428.8): report, accept, register, dispatch, handle, check, close."""

    REPORTED = "reported"
    ACCEPTED = "accepted"
    REGISTERED = "registered"
    DISPATCHED = "dispatched"
    HANDLING = "handling"
    CHECKING = "checking"
    CLOSED = "closed"
    REJECTED = "rejected"


class ClockKind(StrEnum):
    """How a time limit runs: through the night, in working hours, in working days, or in natural days."""

    URGENT_HOURS = "urgent_hours"
    WORK_HOURS = "work_hours"
    WORK_DAYS = "work_days"
    NATURAL_DAYS = "natural_days"


class JobState(StrEnum):
    """`ready` waits for a worker, `running` is leased, `dead` gave up and keeps its reason, `cancelled` was ended by a
    person."""

    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class PhotoState(StrEnum):
    """A photo is `expected` from a manifest, `received` whole, then `processed` or `failed` with a code."""

    EXPECTED = "expected"
    RECEIVED = "received"
    PROCESSED = "processed"
    FAILED = "failed"


class ReportState(StrEnum):
    """A citizen's report is assembled from messages, then submitted once."""

    ASSEMBLING = "assembling"
    SUBMITTED = "submitted"


class DataGrade(StrEnum):
    """How data are graded (数据分级: 一般、重要、核心), after the Data Security Law (数据安全法) article 21."""

    GENERAL = "general"
    IMPORTANT = "important"
    CORE = "core"


class LoadMode(StrEnum):
    """Whether a file is a whole dataset, or what changed since the snapshot before."""

    FULL = "full"
    INCREMENTAL = "incremental"


class ImportState(StrEnum):
    """A dataset's snapshot while it loads and afterwards."""

    LOADING = "loading"
    CURRENT = "current"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class SubjectType(StrEnum):
    """How the subject of a request under the law of personal data was named."""

    HUMAN = "human"
    DOCUMENT = "document"
    CITIZEN = "citizen"


class ErasureReason(StrEnum):
    """Why somebody's data are erased (PIPL, article 47)."""

    SUBJECT_REQUEST = "subject_request"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    PURPOSE_ENDED = "purpose_ended"
    RETENTION_OVER = "retention_over"
    UNLAWFUL = "unlawful"


class ErasureState(StrEnum):
    """An erasure waits for a second person, then its key is destroyed (`erasing`), then its traces (`done`)."""

    REQUESTED = "requested"
    REFUSED = "refused"
    APPROVED = "approved"
    ERASING = "erasing"
    DONE = "done"


class FileState(StrEnum):
    """A file that is made for somebody: asked for, ready to be fetched, fetched (once), refused, or removed."""

    REQUESTED = "requested"
    READY = "ready"
    FETCHED = "fetched"
    REFUSED = "refused"
    EXPIRED = "expired"


class AccessReason(StrEnum):
    """Why all that is held about somebody is collected."""

    SUBJECT_REQUEST = "subject_request"
    REPRESENTATIVE = "representative"
    AUTHORITY = "authority"


class ExportWhat(StrEnum):
    """What can be exported."""

    CASES = "cases"
    VERDICTS = "verdicts"
    RECORDS = "records"
    RECONCILIATION_LINKS = "reconciliation_links"
    RECONCILIATION_GRIDS = "reconciliation_grids"
    DATASET = "dataset"


class ExportFormat(StrEnum):
    """What kind of file an export is."""

    CSV = "csv"
    PARQUET = "parquet"


class ExportPurpose(StrEnum):
    """Why a table leaves the system."""

    STATISTICS = "statistics"
    HANDOVER = "handover"
    INSPECTION = "inspection"
    QUALITY = "quality"
    OTHER = "other"


class ConsentAct(StrEnum):
    """A citizen was told a notice, agreed to it, or withdrew his consent."""

    TOLD = "told"
    AGREED = "agreed"
    WITHDRAWN = "withdrawn"


class ReconciliationState(StrEnum):
    """How far a bulk reconciliation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReconciliationPhase(StrEnum):
    """What a bulk reconciliation does, in this order."""

    KEYS = "keys"
    PHONES = "phones"
    RECORDS = "records"
    PLAN = "plan"
    PROBABLE = "probable"
    FIELDS = "fields"
    REPORT = "report"


class LinkRule(StrEnum):
    """Why a collected record and a business record are held for the same."""

    KEY = "key"
    PHONE = "phone"
    PROBABLE = "probable"


class ReconcileEngine(StrEnum):
    """What runs the probabilistic step."""

    DUCKDB = "duckdb"
    SPARK = "spark"
