"""What the desk's API of quarantined rows takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.core.enums import Kind, Outcome, QuarantineCode, QuarantineState
from backend.services.given import GivenValue
from sync.review_rules import Action
from sync.review_schemas import MAX_DECISIONS, MAX_MANY, AllowedStep, StepAsked, StepView


class QuarantinedLine(BaseModel):
    """A quarantined row: whose, about what, why it waits. `id` is the `held` of outcomes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01938f6e-7c00-7000-8000-0000000000f1",
                    "kind": "house",
                    "document_id": "01938f6e-7c00-7000-8000-000000000001",
                    "op": "24f130d1-31ad-44b5-b100-36dc93446b81",
                    "grid_id": "440310001001001",
                    "code": "invalid",
                    "places": ["address: missing"],
                    "state": "open",
                    "account_id": "01938f6e-7c00-7000-8000-0000000000d1",
                    "device_id": "01938f6e-7c00-7000-8000-0000000000e1",
                    "created_at": "2026-03-02T08:15:00+08:00",
                    "decided_at": None,
                }
            ]
        }
    )

    id: UUID
    kind: Kind
    document_id: UUID | None
    op: UUID | None
    grid_id: str | None
    code: QuarantineCode
    places: list[str]
    state: QuarantineState
    account_id: UUID
    device_id: UUID
    created_at: datetime
    decided_at: datetime | None


class QuarantinedPage(BaseModel):
    """Quarantined rows, oldest first. `next` goes into the `after` of the next call; null after the last."""

    rows: list[QuarantinedLine]
    next: UUID | None


class QuarantinedDetail(QuarantinedLine):
    """A row with what it holds, masked, and the record as it stands, where that is in the caller's territory.

    `row` is null where what came cannot be read as a row at all: only unmasking shows it. Where `whole` is false, a
    part was erased with the person it was about, and the row can only be rejected.
    """

    row: dict[str, Any] | None
    whole: bool
    current: dict[str, Any] | None
    version: int | None
    steps: list[StepView]
    actions: list[AllowedStep]


class UnmaskedRow(BaseModel):
    """A row in the clear: JSON, or text where it is none. `unmasking_id` names the row of the audit trail."""

    unmasking_id: UUID
    row: Any


FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,39}$")]
ENVELOPE = frozenset({"id", "op", "rev"})


class Correction(StepAsked):
    """Fields as they should be, and those to be taken away; the rest of the row stays as it was pushed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "typing_error", "fields": {"use": "residential"}}]},
    )

    fields: Annotated[dict[FieldName, GivenValue], Field(max_length=MAX_DECISIONS)] = {}
    remove: Annotated[list[FieldName], Field(max_length=MAX_DECISIONS)] = []

    @model_validator(mode="after")
    def _fields_only(self) -> Self:
        if not (self.fields or self.remove) or ENVELOPE & {*self.fields, *self.remove}:
            raise ValueError("fields of the record, at least one")
        return self


class RowDecision(StepAsked):
    """What is decided about one row among many."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": []})

    held: UUID
    action: Literal[Action.RELEASE, Action.REJECT, Action.REOPEN]


class RowDecisions(BaseModel):
    """Decisions about several rows; each stands or falls by itself, in the order given."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "rows": [
                        {
                            "held": "01938f6e-7c00-7000-8000-0000000000f1",
                            "action": "reject",
                            "reason": "duplicate",
                        }
                    ]
                }
            ]
        },
    )

    rows: Annotated[list[RowDecision], Field(min_length=1, max_length=MAX_MANY)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({row.held for row in self.rows}) != len(self.rows):
            raise ValueError("a row is named twice")
        return self


class Decided(BaseModel):
    """A row after its decision. `outcome` is what became of a row that went in, `version` the record's after it."""

    held: UUID
    state: QuarantineState
    document_id: UUID | None
    outcome: Outcome | None = None
    version: int | None = None


class DecidedOrNot(BaseModel):
    """One of many: `decided`, or the `code` that stands against it with what goes with it."""

    held: UUID
    decided: Decided | None = None
    code: str | None = None
    refusal: dict[str, Any] | None = None


class DecidedMany(BaseModel):
    """In the order asked."""

    results: list[DecidedOrNot]
