"""What the stewards' API of duplicate records takes and gives."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backend.core.enums import Role
from sync.quarantine_schemas import FieldName
from sync.review_schemas import MAX_DECISIONS, Note, Version


class JoinAsked(BaseModel):
    """Which record is the duplicate of the one in the path, in which version it was read, and why.

    The survivor keeps what it has and gets what only the duplicate knows; `take` names fields whose value is to be the
    duplicate's all the same.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "duplicate_id": "01938f6e-7c00-7000-8000-000000000002",
                    "duplicate_version": 1,
                    "reason": "same_person",
                    "take": ["phone"],
                }
            ]
        },
    )

    duplicate_id: UUID
    duplicate_version: Version
    reason: Literal["same_person", "same_house", "same_thing"]
    note: Note | None = None
    take: Annotated[list[FieldName], Field(max_length=MAX_DECISIONS)] = []

    @model_validator(mode="after")
    def _own_fields_stay(self) -> Self:
        if {"grid_id", "captured_at"} & set(self.take):
            raise ValueError("where a record lies and when it was made is its own")
        return self


class PartAsked(BaseModel):
    """Which duplicate is a record of its own after all, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"duplicate_id": "01938f6e-7c00-7000-8000-000000000002", "reason": "joined_wrongly"}]
        },
    )

    duplicate_id: UUID
    reason: Literal["joined_wrongly", "new_information"]
    note: Note | None = None


class JoinView(BaseModel):
    """One act: a join, or with `undoes` the taking apart of one. `taken` are the survivor's fields that it changed."""

    id: UUID
    survivor_id: UUID
    duplicate_id: UUID
    undoes: UUID | None
    survivor_before: int
    survivor_version: int
    duplicate_before: int
    duplicate_version: int
    taken: list[str]
    actor: UUID
    role: Role
    reason: str
    reason_zh: str
    at: datetime


class Joins(BaseModel):
    """What was joined into a record, and taken apart again, oldest first."""

    joins: list[JoinView]
