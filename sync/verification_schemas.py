"""What the API of verification requests and of departments' fields takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.core.enums import Kind, VerificationState
from backend.services.given import GivenValue
from sync.review_schemas import AllowedStep, Reason, StepView, StewardValue

MAX_FIELDS = 20

FieldName = Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")]


class VerificationLine(BaseModel):
    """A value that a handheld proposes for a department's field, and the one that was kept then; masked.

    `now` is what the field has now. `photos` were in the pushed row, as evidence. `version` is the record's, for
    If-Match; null where the record cannot be seen. Where `whole` is false, a value was erased with its person.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01938f6e-7c00-7000-8000-0000000000f1",
                    "document_id": "01938f6e-7c00-7000-8000-000000000001",
                    "kind": "house",
                    "grid_id": "440310001001001",
                    "version": 3,
                    "deleted": False,
                    "field": "tenure",
                    "dataset": "houses",
                    "state": "open",
                    "account_id": "01938f6e-7c00-7000-8000-0000000000d1",
                    "device_id": "01938f6e-7c00-7000-8000-0000000000e1",
                    "op": "24f130d1-31ad-44b5-b100-36dc93446b81",
                    "created_at": "2026-03-02T08:15:00+08:00",
                    "photos": ["01938f6e-7c00-7000-8000-0000000000b1"],
                    "values": {"proposed": "private", "kept": "public", "now": "public"},
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
    dataset: str
    state: VerificationState
    account_id: UUID
    device_id: UUID
    op: UUID
    created_at: datetime
    photos: list[UUID]
    values: dict[str, Any] = Field(description="`proposed`, `kept` and `now`; one without a value is missing")
    whole: bool


class VerificationPage(BaseModel):
    """Requests, oldest first. `next` goes into the `after` of the next call; null after the last."""

    requests: list[VerificationLine]
    next: UUID | None


class VerificationDetail(VerificationLine):
    """A request with the department's own record, its history, and what the caller may do. The ETag is `version`."""

    steward: StewardValue | None
    steps: list[StepView]
    actions: list[AllowedStep]


class Verified(BaseModel):
    """Where a request stands, with the record's version; `op` names the version that was made, null for none."""

    verification: UUID
    state: VerificationState
    document_id: UUID
    version: int
    op: UUID | None


class DepartmentFields(BaseModel):
    """What a department says of its fields: values given here, or (`adopt`) those of its dataset's record."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"fields": {"tenure": "public"}, "reason": "department_record"}]},
    )

    fields: Annotated[dict[FieldName, GivenValue], Field(max_length=MAX_FIELDS)] = {}
    adopt: Annotated[list[FieldName], Field(max_length=MAX_FIELDS)] = []
    reason: Reason

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [*self.fields, *self.adopt]
        if not names or len(set(names)) != len(names):
            raise ValueError("name each field once, and at least one")
        return self


class DepartmentWritten(BaseModel):
    """The record afterwards: `op` names the version that was made, null where the values stood already."""

    document_id: UUID
    version: int
    op: UUID | None
    fields: list[str]
