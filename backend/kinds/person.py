"""A person met in a grid (实有人口). Everything but the grid is personal."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from backend.core.enums import Kind
from backend.kinds.base import COMMON_MEMBERS, COMMON_PUBLIC, Code, DateText, KindSpec, Record, Text


class Person(Record):
    """Fields after GB/T 31000. Whether an id number is consistent is a verdict of the cross-check, not of the form."""

    name: Annotated[Text, Field(title="姓名", examples=["张三"])]
    id_type: Annotated[Code | None, Field(title="证件类型", examples=["citizen_id"])] = None
    id_number: Annotated[Code | None, Field(title="证件号码")] = None
    sex: Annotated[Code | None, Field(title="性别", examples=["male", "female"])] = None
    birth_date: Annotated[DateText | None, Field(title="出生日期")] = None
    ethnicity: Annotated[Code | None, Field(title="民族")] = None
    education: Annotated[Code | None, Field(title="文化程度")] = None
    phone: Annotated[Code | None, Field(title="联系电话")] = None
    registered_address: Annotated[Text | None, Field(title="户籍地址")] = None
    house_id: Annotated[UUID | None, Field(title="现住房屋", strict=False)] = None
    residence_matches_registration: Annotated[bool | None, Field(title="人户一致")] = None
    household_no: Annotated[Code | None, Field(title="户号")] = None
    head_relation: Annotated[Code | None, Field(title="与户主关系")] = None
    inflow_reason: Annotated[Code | None, Field(title="流入原因")] = None
    inflow_date: Annotated[DateText | None, Field(title="流入日期")] = None
    employer: Annotated[Text | None, Field(title="从业单位")] = None


SPEC = KindSpec(
    kind=Kind.PERSON,
    model=Person,
    title="人口",
    public=COMMON_PUBLIC,
    members=COMMON_MEMBERS,
    subject_is_human=True,
)
