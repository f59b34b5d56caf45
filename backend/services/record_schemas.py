"""Records as the offices ask for them: masked, unmasked for a reason, or searched by a number."""

from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.core.enums import Kind

MAX_FIELDS = 20

FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40})?$")]
Number = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class UnmaskReason(StrEnum):
    """Why personal values are looked at in the clear."""

    HANDLING_CASE = "handling_case"
    VERIFYING_ENTRY = "verifying_entry"
    ANSWERING_PERSON = "answering_person"
    CORRECTING_DATA = "correcting_data"
    LEGAL_REQUEST = "legal_request"


class RecordView(BaseModel):
    """A record in the caller's reach. With `masked` the personal values in `fields` are masked: 张**, 138****1234."""

    id: UUID
    kind: Kind
    grid_id: str
    version: int
    updated_at: AwareDatetime
    masked: bool
    fields: dict[str, Any]


class UnmaskRequest(BaseModel):
    """Which fields, by name (`phone`) or part of a nested one (`owner.phone`), and why.

    `note` says in words what the reason is about; it is kept encrypted and shown to nobody but an inquiry.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"fields": ["name", "phone"], "reason": "handling_case", "note": "回访当事人，核实处理结果"},
            ]
        },
    )

    fields: Annotated[list[FieldName], Field(min_length=1, max_length=MAX_FIELDS)]
    reason: UnmaskReason
    note: Annotated[str, StringConstraints(min_length=4, max_length=500, strip_whitespace=True)]


class Unmasked(BaseModel):
    """The values asked for; a field without a value is missing. `unmasking_id` names the row of the audit trail."""

    id: UUID
    unmasking_id: UUID
    version: int
    values: dict[str, Any]


class SearchRequest(BaseModel):
    """A person by the whole identity number, or by the whole phone number. Parts of a number find nobody."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"id_type": "citizen_id", "id_number": "110101199003070016"}]},
    )

    id_type: Number | None = None
    id_number: Number | None = None
    phone: Number | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.id_type is None) != (self.id_number is None) or (self.id_number is None) == (self.phone is None):
            raise ValueError("either id_type and id_number, or phone")
        return self


class SearchHits(BaseModel):
    """Records of the person in the caller's reach, the newest first, masked; at most fifty."""

    hits: list[RecordView]
