"""All tables. Importing this package registers every one of them in `SQLModel.metadata`."""

from backend.models.accounts import (
    Account,
    Device,
    EnrolmentCode,
    LoginFailure,
    PastPassword,
    Posting,
    RecoveryCode,
    SecondFactor,
    SessionFamily,
)
from backend.models.audit import AuditBatch, AuditDrop, AuditEntry, AuditSeal
from backend.models.cases import (
    CalendarDay,
    Case,
    CaseQueue,
    CaseStep,
    EventClass,
    RegistrationStandard,
    RoutingRule,
)
from backend.models.checks import RuleSet, Verdict
from backend.models.citizens import Citizen, Report, WechatMessage
from backend.models.documents import (
    Conflict,
    DevicePush,
    Document,
    DocumentVersion,
    Feed,
    FeedCounter,
    FeedDue,
    Mutation,
    Quarantine,
)
from backend.models.jobs import BeatSlot, Job, JobTally
from backend.models.life import (
    AccessRequest,
    Consent,
    Erasure,
    Export,
    PrivacyNotice,
    RetentionRule,
    RetentionRun,
)
from backend.models.media import Derivative, Photo, PhotoLink, Upload
from backend.models.notices import Notice
from backend.models.registry import BusinessRecord, Dataset, Snapshot
from backend.models.reviews import RecordJoin, ReviewCounter, ReviewStep
from backend.models.stewardship import FieldAuthority, VerificationRequest
from backend.models.territory import Department, Grid, GridChange, Membership, TerritoryUnit
from backend.models.trust import ErasedSubject, ServerState, SubjectKey, Unmasking

__all__ = [
    "AccessRequest",
    "Account",
    "AuditBatch",
    "AuditDrop",
    "AuditEntry",
    "AuditSeal",
    "BeatSlot",
    "BusinessRecord",
    "CalendarDay",
    "Case",
    "CaseQueue",
    "CaseStep",
    "Citizen",
    "Conflict",
    "Consent",
    "Dataset",
    "Department",
    "Derivative",
    "Device",
    "DevicePush",
    "Document",
    "DocumentVersion",
    "EnrolmentCode",
    "ErasedSubject",
    "Erasure",
    "EventClass",
    "Export",
    "Feed",
    "FeedCounter",
    "FeedDue",
    "FieldAuthority",
    "Grid",
    "GridChange",
    "Job",
    "JobTally",
    "LoginFailure",
    "Membership",
    "Mutation",
    "Notice",
    "PastPassword",
    "Photo",
    "PhotoLink",
    "Posting",
    "PrivacyNotice",
    "Quarantine",
    "RecordJoin",
    "RecoveryCode",
    "RegistrationStandard",
    "Report",
    "RetentionRule",
    "RetentionRun",
    "ReviewCounter",
    "ReviewStep",
    "RoutingRule",
    "RuleSet",
    "SecondFactor",
    "ServerState",
    "SessionFamily",
    "Snapshot",
    "SubjectKey",
    "TerritoryUnit",
    "Unmasking",
    "Upload",
    "Verdict",
    "VerificationRequest",
    "WechatMessage",
]
