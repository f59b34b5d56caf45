"""Declarations as a portal hands them over, and as it and the offices read them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.core.enums import Course, DeclarationState, Kind, VerdictKind, WithdrawalReason
from backend.kinds.base import EARLIEST_YEAR, LATEST_YEAR
from backend.services.given import GivenValue

MAX_FIELDS = 40

DeclaredKind = Literal[Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION]
DeclaredField = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]


class Declared(BaseModel):
    """What is declared. `fields` are those of the kind (`GET /reference/v1/kinds`) without `grid_id`, `captured_at` and
    `photos`, which are the field workers' own; id type and number of a person, the house code of a dwelling or the USCC
    of an organisation must be among them. `declared_at` is when the declarant sent it off in the portal."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "person",
                    "declared_at": "2026-03-02T09:30:00+08:00",
                    "fields": {"name": "张三", "id_type": "citizen_id", "id_number": "110101199003070016"},
                }
            ]
        },
    )

    kind: DeclaredKind
    declared_at: AwareDatetime
    fields: Annotated[dict[DeclaredField, GivenValue], Field(min_length=1, max_length=MAX_FIELDS)]

    @model_validator(mode="after")
    def _within_the_calendar(self) -> Self:
        if not EARLIEST_YEAR <= self.declared_at.year <= LATEST_YEAR:
            raise ValueError("declared_at: outside the calendar")
        return self


class Withdrawn(BaseModel):
    """Why a declaration is taken back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "mistake"}]})

    reason: Literal[WithdrawalReason.MISTAKE, WithdrawalReason.NO_LONGER_TRUE, WithdrawalReason.DECLARANT_ASKED]


class Result(BaseModel):
    """What became of the version in force. `verdict` and `course` are absent until it was compared; `told` says it in
    words that the portal may show to the declarant."""

    verdict: VerdictKind | None = None
    course: Course | None = None
    compared_at: AwareDatetime | None = None
    told: Annotated[str, Field(examples=["申报已收到，正在与登记信息核对。"])]


class DeclarationView(BaseModel):
    """A declaration; personal values in `fields` are masked for everybody. `grid_id` is told to offices only."""

    id: UUID
    kind: Kind
    version: int
    state: DeclarationState
    grid_id: str | None
    declared_at: AwareDatetime
    received_at: AwareDatetime
    updated_at: AwareDatetime
    ended_at: AwareDatetime | None
    end_reason: WithdrawalReason | None
    fields: dict[str, Any]
    result: Result


class DeclarationPage(BaseModel):
    """A page of declarations, the newest id first; pass `next` as `before` for the page after."""

    declarations: list[DeclarationView]
    next: UUID | None


def result_of(
    state: DeclarationState,
    verdict: VerdictKind | None = None,
    course: Course | None = None,
    compared_at: datetime | None = None,
) -> Result:
    """The result with its words."""
    return Result(verdict=verdict, course=course, compared_at=compared_at, told=_told(state, verdict, course))


def _told(state: DeclarationState, verdict: VerdictKind | None, course: Course | None) -> str:
    if state is DeclarationState.WITHDRAWN:
        return "申报已撤回。"
    if verdict is None:
        return "申报已收到，正在与登记信息核对。"
    if verdict in (VerdictKind.MATCH, VerdictKind.ACCEPTED):
        return "申报已核对，未发现问题。"
    follows = FOLLOWS[course] if course is not None else ""
    return f"申报与登记信息核对后有疑问：{DOUBTS[verdict]}。{follows}"


DOUBTS: dict[VerdictKind, str] = {
    VerdictKind.SOURCES_DIFFER: "部分内容与网格员采集的或其他部门的信息不一致",
    VerdictKind.DIFFERS: "部分内容与登记信息不一致",
    VerdictKind.NAME_DIFFERS: "姓名或名称与登记信息不一致",
    VerdictKind.AMBIGUOUS: "无法确定对应的登记信息",
    VerdictKind.NOT_FOUND: "没有查到对应的登记信息",
    VerdictKind.ID_SELF_INCONSISTENT: "证件号码有误，或与出生日期、性别不符",
    VerdictKind.ADDRESS_UNKNOWN: "没有查到该房屋的登记信息",
    VerdictKind.OUT_OF_GRID: "位置与登记的网格不一致",
    VerdictKind.FLAG_CONFLICT: "居住地与户籍地是否一致的说明有矛盾",
    VerdictKind.MOVED: "住址或位置与登记信息不一致",
    VerdictKind.DUPLICATE: "内容与已有信息重复",
    VerdictKind.RENTAL_HAZARD: "出租情况需要核实",
    VerdictKind.ORGANISATION_CLOSED: "登记状态为已注销",
    VerdictKind.COMPONENT_UNKNOWN: "没有查到对应的部件",
    VerdictKind.CLASS_UNKNOWN: "类别不明",
}
FOLLOWS: dict[Course, str] = {
    Course.ACCEPTED: "经核对予以采信。",
    Course.VISIT: "网格员将上门核实。",
    Course.CASE: "工作人员正在核实。",
    Course.NONE: "",
}
