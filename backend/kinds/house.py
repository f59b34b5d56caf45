"""A dwelling (房屋). The house itself is public; its owner, its tenants and its exact place are not."""

from typing import Annotated

from pydantic import Field, StringConstraints

from backend.core.enums import Kind
from backend.kinds.base import (
    COMMON_MEMBERS,
    COMMON_PUBLIC,
    MAX_MEMBERS,
    Code,
    Human,
    KindSpec,
    Location,
    Member,
    Record,
    Text,
)

HouseCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{25}$")]


class House(Record):
    """One dwelling by its 25-digit house code, where it has one."""

    house_code: Annotated[HouseCode | None, Field(title="房屋编码")] = None
    name: Annotated[Text | None, Field(title="房屋名称")] = None
    address: Annotated[Text, Field(title="地址", examples=["坪山街道六联社区示例路1号1栋101"])]
    use: Annotated[Code | None, Field(title="用途", examples=["residential"])] = None
    area_dm2: Annotated[int | None, Field(title="建筑面积(0.01㎡)", ge=0)] = None
    tenure: Annotated[Code | None, Field(title="产权性质")] = None
    owner: Annotated[Human | None, Field(title="产权人")] = None
    rental_use: Annotated[Code | None, Field(title="出租情况", examples=["rented", "self_occupied", "vacant"])] = None
    hazards: Annotated[list[Code] | None, Field(title="隐患", max_length=20)] = None
    tenants: Annotated[list[Member], Field(title="住户", max_length=MAX_MEMBERS)] = []
    location: Annotated[Location | None, Field(title="位置")] = None


SPEC = KindSpec(
    kind=Kind.HOUSE,
    model=House,
    title="房屋",
    public=COMMON_PUBLIC | {"house_code", "name", "address", "use", "area_dm2", "tenure", "rental_use", "hazards"},
    nested=frozenset({"owner", "tenants"}),
    members={**COMMON_MEMBERS, "tenants": "id"},
    stewarded={"tenure": "houses"},
    natural_key="house_code",
)
