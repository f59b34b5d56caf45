"""Datasets as departments register them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from backend.core.enums import DataGrade, Kind

OneLine = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]
Title = Annotated[OneLine, StringConstraints(max_length=64)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}(\.[a-z][a-z0-9_]{0,30})?$")]


class ColumnDefinition(BaseModel):
    """A column of the department's files and the field it fills; without a field it is left unread.

    `public`: not personal, so it may be stored readable; all other fields are encrypted. A field that the base dataset
    of the kind has keeps that one's rules, whatever is said here. `choices`: what cells say, and the codes for it.
    """

    model_config = ConfigDict(extra="forbid")

    title: Title
    field: FieldName | None
    required: bool = False
    shape: Literal["text", "integer", "date"] = "text"
    longest: Annotated[int, Field(ge=1, le=2000)] = 200
    choices: Annotated[dict[Title, Title], Field(max_length=200)] = {}
    public: bool = False


class PullDefinition(BaseModel):
    """Where a dataset is pulled from, and how often.

    `source`: a name of `IMPORT_SOURCES`. `table`: a table or view there, with its schema; its columns are called as
    those of the dataset's files, others are not read. `watermark`: a column that grows with every change, a time or a
    number; without one the whole table is read each time. `deleted`: a boolean column that says a record is gone.
    `overlap_minutes`: how long a transaction over there may take; so much is read twice.
    """

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    table: Annotated[OneLine, StringConstraints(max_length=129, pattern=r"^[^.]{1,63}(\.[^.]{1,63})?$")]
    watermark: Annotated[OneLine, StringConstraints(max_length=63)] | None = None
    deleted: Annotated[OneLine, StringConstraints(max_length=63)] | None = None
    every_minutes: Annotated[int, Field(ge=5, le=44640)] = 1440
    overlap_minutes: Annotated[int, Field(ge=0, le=1440)] = 60


class DatasetChange(BaseModel):
    """What may be said anew of a dataset. `refresh_days`: how often a new load is due, null where nobody says.

    `history`: how many snapshots before the current one keep their records, unless a rule of retention removes them.
    """

    model_config = ConfigDict(extra="forbid")

    name: Annotated[OneLine, StringConstraints(max_length=64)]
    department_code: Annotated[OneLine, StringConstraints(max_length=32)]
    legal_basis: Annotated[OneLine, StringConstraints(max_length=255)]
    grade: DataGrade
    refresh_days: Annotated[int, Field(ge=1, le=3660)] | None = None
    history: Annotated[int, Field(ge=1, le=100)] = 1
    columns: Annotated[list[ColumnDefinition], Field(max_length=200)] = []
    pull: PullDefinition | None = None


class DatasetDefinition(DatasetChange):
    """A dataset of a department's own.

    `kind`: what its records are about, where that is a kind the base stores know. Its key is then that kind's: of
    people the identity document (`key` is null; `id_type` and `id_number` are fields), else house code, USCC or
    component id. Without a kind `key` names the field that tells records apart.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "code": "elevators",
                    "name": "电梯登记",
                    "department_code": "market-regulation",
                    "legal_basis": "特种设备安全法第三十三条（示例）",
                    "grade": "general",
                    "refresh_days": 30,
                    "kind": None,
                    "key": "device_no",
                    "columns": [
                        {"title": "设备代码", "field": "device_no", "public": True},
                        {"title": "下次检验日期", "field": "next_check", "shape": "date", "public": True},
                        {"title": "安全管理员", "field": "keeper"},
                        {"title": "备注", "field": None},
                    ],
                }
            ]
        },
    )

    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{1,31}$")]
    kind: Literal[Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION, Kind.COMPONENT] | None = None
    key: FieldName | None = None
    columns: Annotated[list[ColumnDefinition], Field(min_length=1, max_length=200)]


class LookUp(BaseModel):
    """Which record, by its key, or of people by their identity document; and as of when: a snapshot, a moment, or now.

    Numbers of people belong into no address, so this is a body.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"key": "4403030010010001", "as_of": "2026-10-01T00:00:00Z"}]}
    )

    key: Annotated[OneLine, StringConstraints(max_length=200)] | None = None
    id_type: Annotated[OneLine, StringConstraints(max_length=64)] | None = None
    id_number: Annotated[OneLine, StringConstraints(max_length=64)] | None = None
    snapshot_id: UUID | None = None
    as_of: AwareDatetime | None = None
