"""Requests under the law of personal data, as the API takes and shows them."""

from datetime import date
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.core.enums import AccessReason, ErasureReason, ErasureState, FileState, SubjectType

Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Subject(BaseModel):
    """Whose data: named in one of three ways. An identity number is used to find the person and is not kept."""

    model_config = ConfigDict(extra="forbid")

    document_id: UUID | None = None
    citizen_id: UUID | None = None
    id_type: Annotated[Word | None, Field(examples=["citizen_id"])] = None
    id_number: Annotated[Word | None, Field(examples=["110101199003070016"])] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_identity = self.id_type is not None and self.id_number is not None
        half = (self.id_type is None) != (self.id_number is None)
        if half or sum((self.document_id is not None, self.citizen_id is not None, by_identity)) != 1:
            raise ValueError("exactly one of document_id, citizen_id, id_type with id_number")
        return self


class ErasureRequest(BaseModel):
    """Whom to erase, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "subject": {"id_type": "citizen_id", "id_number": "110101199003070016"},
                    "reason": "subject_request",
                }
            ]
        },
    )

    subject: Subject
    reason: ErasureReason


class ErasureView(BaseModel):
    """An erasure and what it did: `report` counts rows and files by where they were."""

    id: UUID
    state: ErasureState
    subject_type: SubjectType
    document_id: UUID | None
    citizen_id: UUID | None
    reason: ErasureReason
    requested_by: UUID | None
    requested_at: AwareDatetime
    decided_by: UUID | None
    decided_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    report: Annotated[dict[str, Any], Field(examples=[{"keys": 2, "document": 1, "devices": 1, "file": 2}])]


class RetentionRunView(BaseModel):
    """What a rule removed on a day, and the oldest that is left."""

    id: UUID
    rule: Annotated[str, Field(examples=["wechat_message"])]
    day: date
    place: Annotated[str, Field(examples=["wechat_message"])]
    at: AwareDatetime
    before: AwareDatetime
    removed: int
    oldest_kept: AwareDatetime | None


class RetentionRunPage(BaseModel):
    """Runs, newest first; pass `next` as `before` for the page after."""

    runs: list[RetentionRunView]
    next: UUID | None


class ErasurePage(BaseModel):
    """Erasures, newest first; pass `next` as `before` for the page after."""

    erasures: list[ErasureView]
    next: UUID | None


class AccessAsked(BaseModel):
    """Whose data are to be collected, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "subject": {"id_type": "citizen_id", "id_number": "110101199003070016"},
                    "reason": "subject_request",
                }
            ]
        },
    )

    subject: Subject
    reason: AccessReason


class AccessView(BaseModel):
    """A request and its file. `counts` says how many entries of each sort the file has."""

    id: UUID
    state: FileState
    subject_type: SubjectType
    document_id: UUID | None
    citizen_id: UUID | None
    reason: AccessReason
    requested_by: UUID | None
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None
    expires_at: AwareDatetime | None
    fetched_at: AwareDatetime | None
    counts: Annotated[dict[str, int], Field(examples=[{"documents": 1, "versions": 3}])]
