"""What the desk's API of conflicts and quarantined rows takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.core.enums import ConflictState, Hardness, Kind, Outcome, Role
from backend.services.given import GivenValue
from backend.services.record_schemas import UnmaskReason
from sync.review_rules import Action, Choice

MAX_NOTE = 500
MAX_DECISIONS = 60
MAX_MANY = 100

Reason = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
Note = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NOTE, strip_whitespace=True)]


Version = Annotated[int, Field(ge=1, le=999_999_999)]
Values = Annotated[
    dict[str, Any],
    Field(
        description="`base`, `mine`, `theirs`, `kept`, and `now` as the record stands; one without a value is missing"
    ),
]


class StepView(BaseModel):
    """One step of a review.

    `choice` is which value of a conflict was chosen, `value` that value, masked; of a quarantined row that went in,
    `choice` is its outcome. `note` is what was said about it.
    """

    number: int
    action: Action
    from_state: str
    to_state: str
    actor: UUID
    role: Role | None
    reason: str
    reason_zh: str
    choice: Choice | Outcome | None
    version_before: int | None
    version: int | None
    at: datetime
    value: Any = None
    note: str | None = None


class AllowedStep(BaseModel):
    """A step the caller may take now, with the reasons to choose from."""

    action: Action
    to_state: str
    reasons: dict[str, str] = Field(description="code → 中文")


class ConflictLine(BaseModel):
    """A conflict: who pushed it, where the record lies now, and the values on each side, masked.

    `version` is the record's, for If-Match. Where `whole` is false, a value was erased with the person it was about.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01938f6e-7c00-7000-8000-0000000000c1",
                    "document_id": "01938f6e-7c00-7000-8000-000000000001",
                    "kind": "person",
                    "grid_id": "440310001001001",
                    "version": 3,
                    "deleted": False,
                    "field": "phone",
                    "hardness": "hard",
                    "state": "open",
                    "account_id": "01938f6e-7c00-7000-8000-0000000000d1",
                    "device_id": "01938f6e-7c00-7000-8000-0000000000e1",
                    "op": "24f130d1-31ad-44b5-b100-36dc93446b81",
                    "created_at": "2026-03-02T08:15:00+08:00",
                    "values": {"base": "138****8000", "mine": "139****8000", "theirs": "137****8000"},
                    "whole": True,
                }
            ]
        }
    )

    id: UUID
    document_id: UUID
    kind: Kind
    grid_id: str
    version: int
    deleted: bool
    field: str
    hardness: Hardness
    state: ConflictState
    account_id: UUID
    device_id: UUID
    op: UUID
    created_at: datetime
    values: Values
    whole: bool


class ConflictPage(BaseModel):
    """Conflicts, oldest first. `next` goes into the `after` of the next call; null after the last."""

    conflicts: list[ConflictLine]
    next: UUID | None


class StewardValue(BaseModel):
    """What the department that answers for the field has, from which dataset and as of when; masked.

    `source` is `registry` for the business record itself, `verdict` for what the last cross-check found.
    """

    dataset: str | None
    source: str
    taken_at: datetime | None
    value: Any


class ConflictDetail(ConflictLine):
    """A conflict with the department's value, its history, and what the caller may do. The ETag is `version`.

    `stewarded`: a department owns the field; only a data steward may write a collected value over it.
    """

    stewarded: bool
    steward: StewardValue | None
    steps: list[StepView]
    actions: list[AllowedStep]


class Counts(BaseModel):
    """How many there are by each facet; each facet is counted under the filters of the others."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"total": 3, "by": {"kind": {"person": 2, "house": 1}, "age": {"day": 3}}}]}
    )

    total: int
    by: dict[str, dict[str, int]]


class UnmaskAsked(BaseModel):
    """Why the values are looked at in the clear; the note is kept encrypted and shown to nobody but an inquiry."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "verifying_entry", "note": "核对两次采集的差异"}]},
    )

    reason: UnmaskReason
    note: Annotated[str, StringConstraints(min_length=4, max_length=MAX_NOTE, strip_whitespace=True)]


class UnmaskedValues(BaseModel):
    """The values in the clear. `unmasking_id` names the row of the audit trail."""

    unmasking_id: UUID
    field: str
    values: Values


class FieldDecision(BaseModel):
    """Which value the field of one conflict gets. `value` goes with the choice `value` and with no other.

    `remove` instead of a value takes the field, or the member of the list, away.
    """

    model_config = ConfigDict(extra="forbid")

    conflict_id: UUID
    choice: Choice
    value: GivenValue = None
    remove: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = "value" in self.model_fields_set
        if self.choice is Choice.VALUE and given == self.remove:
            raise ValueError("the choice value needs either a value or remove")
        if self.choice is not Choice.VALUE and (given or self.remove):
            raise ValueError("only the choice value takes one")
        return self


class Resolution(BaseModel):
    """Decisions about the fields of one record, with one reason (`reasons` of the conflicts) and a note."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "decisions": [{"conflict_id": "01938f6e-7c00-7000-8000-0000000000c1", "choice": "mine"}],
                    "reason": "checked_on_site",
                    "note": "现场复核电话",
                }
            ]
        },
    )

    decisions: Annotated[list[FieldDecision], Field(min_length=1, max_length=MAX_DECISIONS)]
    reason: Reason
    note: Note | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({decision.conflict_id for decision in self.decisions}) != len(self.decisions):
            raise ValueError("a conflict is named twice")
        return self


class ResolutionOf(Resolution):
    """The same for one record among many, with the version that was read."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": []})

    document_id: UUID
    version: Version


class Resolutions(BaseModel):
    """Resolutions of several records; each stands or falls by itself."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "records": [
                        {
                            "document_id": "01938f6e-7c00-7000-8000-000000000001",
                            "version": 3,
                            "decisions": [{"conflict_id": "01938f6e-7c00-7000-8000-0000000000c1", "choice": "keep"}],
                            "reason": "same_meaning",
                        }
                    ]
                }
            ]
        },
    )

    records: Annotated[list[ResolutionOf], Field(min_length=1, max_length=MAX_MANY)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({record.document_id for record in self.records}) != len(self.records):
            raise ValueError("a record is named twice")
        return self


class Resolved(BaseModel):
    """A record after its resolution: `op` names the version that was made, null where nothing had to change."""

    document_id: UUID
    version: int
    op: UUID | None
    conflicts: dict[UUID, ConflictState]


class ResolvedOrNot(BaseModel):
    """One of many: `resolved`, or the `code` that stands against it with what goes with it."""

    document_id: UUID
    resolved: Resolved | None = None
    code: str | None = None
    refusal: dict[str, Any] | None = None


class ResolvedMany(BaseModel):
    """In the order asked."""

    results: list[ResolvedOrNot]


class StepAsked(BaseModel):
    """A step with its reason, and a note in words."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "decided_wrongly"}]})

    reason: Reason
    note: Note | None = None


class Contested(BaseModel):
    """Why the collector does not agree."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "differs_on_site", "note": "住户本人出示新号码"}]}
    )

    reason: Reason
    note: Note | None = None


class Answered(BaseModel):
    """Where the conflict stands after its collector's answer."""

    conflict: UUID
    state: ConflictState
