"""A legal or other organisation seen on site (法人). Only its representative and free text are personal."""

from typing import Annotated

from pydantic import Field

from backend.core.enums import Kind
from backend.kinds.base import COMMON_MEMBERS, COMMON_PUBLIC, Code, Human, KindSpec, Location, Record, Text


class Organisation(Record):
    """`status_seen` is what the worker saw; whether it is registered is the market regulator's to say."""

    uscc: Annotated[Code | None, Field(title="统一社会信用代码")] = None
    name: Annotated[Text, Field(title="名称")]
    registration_type: Annotated[Code | None, Field(title="登记类型")] = None
    scope: Annotated[Text | None, Field(title="经营范围")] = None
    registered_address: Annotated[Text | None, Field(title="注册地址")] = None
    operating_address: Annotated[Text | None, Field(title="经营地址")] = None
    legal_representative: Annotated[Human | None, Field(title="法定代表人")] = None
    headcount: Annotated[int | None, Field(title="从业人数", ge=0)] = None
    status_seen: Annotated[Code | None, Field(title="现场状态", examples=["operating", "closed", "absent"])] = None
    location: Annotated[Location | None, Field(title="位置")] = None


SPEC = KindSpec(
    kind=Kind.ORGANISATION,
    model=Organisation,
    title="法人",
    public=COMMON_PUBLIC
    | {
        "uscc",
        "name",
        "registration_type",
        "scope",
        "registered_address",
        "operating_address",
        "headcount",
        "status_seen",
        "location",
    },
    nested=frozenset({"legal_representative"}),
    members=COMMON_MEMBERS,
    stewarded={"registration_type": "organisations", "scope": "organisations"},
    natural_key="uscc",
)
