"""An event seen in a grid (事件). What people wrote, and who took part, is personal."""

from typing import Annotated

from pydantic import Field

from backend.core.enums import Kind
from backend.kinds.base import COMMON_MEMBERS, COMMON_PUBLIC, Code, KindSpec, Location, LongText, Member, Moment, Record

MAX_PARTIES = 10


class Event(Record):
    """`class_code` is class and subclass (2 + 2 digits) in the city's scheme."""

    class_code: Annotated[Code, Field(title="事件类别", examples=["0101"])]
    description: Annotated[LongText | None, Field(title="描述")] = None
    occurred_at: Annotated[Moment, Field(title="发生时间")]
    severity: Annotated[Code | None, Field(title="严重程度", examples=["ordinary", "urgent"])] = None
    parties: Annotated[list[Member], Field(title="当事人", max_length=MAX_PARTIES)] = []
    location: Annotated[Location, Field(title="位置")]


SPEC = KindSpec(
    kind=Kind.EVENT,
    model=Event,
    title="事件",
    public=COMMON_PUBLIC | {"class_code", "occurred_at", "severity", "location"},
    nested=frozenset({"parties"}),
    members={**COMMON_MEMBERS, "parties": "id"},
)
