"""A city component (城市部件): a manhole cover, a street lamp, a bench."""

from typing import Annotated

from pydantic import Field

from backend.core.enums import Kind
from backend.kinds.base import COMMON_MEMBERS, COMMON_PUBLIC, Code, KindSpec, Location, Record, Text


class Component(Record):
    """`class_code` is class and subclass (2 + 2 digits) in the city's scheme."""

    component_id: Annotated[Code | None, Field(title="部件标识码")] = None
    class_code: Annotated[Code, Field(title="部件类别", examples=["0101"])]
    name: Annotated[Text | None, Field(title="名称")] = None
    owner_unit: Annotated[Code | None, Field(title="权属单位")] = None
    keeper_unit: Annotated[Code | None, Field(title="养护单位")] = None
    state: Annotated[Code, Field(title="状态", examples=["intact", "damaged", "missing", "abandoned"])]
    location: Annotated[Location, Field(title="位置")]


SPEC = KindSpec(
    kind=Kind.COMPONENT,
    model=Component,
    title="部件",
    public=COMMON_PUBLIC | {"component_id", "class_code", "name", "owner_unit", "keeper_unit", "state", "location"},
    members=COMMON_MEMBERS,
    stewarded={"owner_unit": "components", "keeper_unit": "components"},
    natural_key="component_id",
)
