"""The datasets departments hand over, as data: which columns a file has, what they mean, and what is refused.

A file's header carries either the Chinese titles or the field names, in any order; columns that are not named here
are refused, so that nothing slips into the base stores that nobody asked for. A field name with a dot is a part of a
nested value (`owner.name`). Values keep the shapes of the record kinds (`backend.kinds`), so that a business record
and a collected one compare field by field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from backend.core.enums import Kind
from backend.kinds import KINDS, KindSpec

HOUSE_CODE = r"^\d{25}$"
GRID_CODE = r"^\d{15}$"
USCC = r"^[0-9A-HJ-NPQRTUWXY]{18}$"
COMPONENT_ID = r"^\d{16}$"
PHONE = r"^(1[3-9]\d{9}|0\d{2,3}-?\d{7,8})$"
CODE = r"^[A-Za-z0-9_-]+$"


PLACE = frozenset({"grid_id"})
"""What is public of a record about no kind."""


class Shape(StrEnum):
    """How a cell is read."""

    TEXT = "text"
    INTEGER = "integer"
    DATE = "date"
    DEGREES = "degrees"
    """Decimal degrees in WGS-84, stored as integers of 1e-7 degree."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `choices` maps what departments write to our codes; the codes themselves are understood too.

    `alias` is what the files of one department call it.
    """

    name: str
    title: str
    required: bool = False
    shape: Shape = Shape.TEXT
    pattern: str | None = None
    longest: int = 200
    choices: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    alias: str | None = None


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset: its columns, the kind it answers for, and the field that names a record.

    `key` is None for people: their key is the blind index of id type and number. `public` are top-level fields that
    may be stored readable, `nested` those that hold a human, who is encrypted under a key of his own.
    `identities` are pairs of columns (id type, id number) whose check digits must be right. `ignored` are titles of
    columns that are left unread. A dataset of a department's own may be about no kind (`registry_catalogue`).
    """

    code: str
    title: str
    kind: Kind | None
    columns: tuple[Column, ...]
    key: str | None
    extra_public: frozenset[str] = frozenset()
    identities: tuple[tuple[str, str], ...] = ()
    ignored: frozenset[str] = frozenset()

    @cached_property
    def kind_spec(self) -> KindSpec | None:
        return KINDS[self.kind] if self.kind else None

    @cached_property
    def public(self) -> frozenset[str]:
        return (self.kind_spec.public if self.kind_spec else PLACE) | self.extra_public

    @cached_property
    def nested(self) -> frozenset[str]:
        return self.kind_spec.nested if self.kind_spec else frozenset()

    @cached_property
    def about_people(self) -> bool:
        """Whether each record is about one human, under whose key it is encrypted."""
        return self.kind_spec is not None and self.kind_spec.subject_is_human

    @cached_property
    def open_key(self) -> bool:
        """Whether the field that names a record may be stored readable."""
        natural = self.kind_spec.natural_key if self.kind_spec else None
        return self.key is not None and (self.key == natural or self.key in self.public)


ID_TYPES = {
    "居民身份证": "citizen_id",
    "港澳台居民居住证": "residence_permit",
    "护照": "passport",
    "港澳居民来往内地通行证": "hk_macao_permit",
    "其他": "other",
}
CHECKED_ID_TYPES = ("citizen_id", "residence_permit")
SEXES = {"男": "male", "女": "female"}
USES = {"住宅": "residential", "商业": "commercial", "工业": "industrial", "办公": "office", "其他": "other"}
RENTAL_USES = {"出租": "rented", "自住": "self_occupied", "空置": "vacant"}
TENURES = {"商品房": "commodity", "保障房": "affordable", "原村民自建房": "village_built", "单位房": "employer"}
ORGANISATION_STATUSES = {"存续": "operating", "注销": "deregistered"}
COMPONENT_STATES = {"完好": "intact", "破损": "damaged", "丢失": "missing", "废弃": "abandoned"}

LOCATION = (
    Column("location.lat", "纬度", shape=Shape.DEGREES, bounds=(-90, 90)),
    Column("location.lon", "经度", shape=Shape.DEGREES, bounds=(-180, 180)),
)
REQUIRED_LOCATION = (
    Column("location.lat", "纬度", required=True, shape=Shape.DEGREES, bounds=(-90, 90)),
    Column("location.lon", "经度", required=True, shape=Shape.DEGREES, bounds=(-180, 180)),
)
GRID = Column("grid_id", "网格编码", required=True, pattern=GRID_CODE)


def human_columns(prefix: str, title: str) -> tuple[Column, ...]:
    """The columns of a human inside another record."""
    return (
        Column(f"{prefix}.name", f"{title}姓名", longest=64),
        Column(f"{prefix}.id_type", f"{title}证件类型", choices=ID_TYPES, longest=64),
        Column(f"{prefix}.id_number", f"{title}证件号码", longest=64),
        Column(f"{prefix}.phone", f"{title}联系电话", pattern=PHONE, longest=64),
    )


POPULATION = DatasetSpec(
    code="population",
    title="人口基础库",
    kind=Kind.PERSON,
    key=None,
    identities=(("id_type", "id_number"),),
    columns=(
        Column("id_type", "证件类型", required=True, choices=ID_TYPES, longest=64),
        Column("id_number", "证件号码", required=True, longest=64),
        Column("name", "姓名", required=True, longest=64),
        Column("sex", "性别", choices=SEXES),
        Column("birth_date", "出生日期", shape=Shape.DATE),
        Column("ethnicity", "民族", longest=64),
        Column("phone", "联系电话", pattern=PHONE, longest=64),
        Column("registered_address", "户籍地址"),
        Column("house_code", "现住房屋编码", pattern=HOUSE_CODE),
        Column("address", "现住地址"),
        GRID,
    ),
)

HOUSES = DatasetSpec(
    code="houses",
    title="房屋基础库",
    kind=Kind.HOUSE,
    key="house_code",
    identities=(("owner.id_type", "owner.id_number"),),
    columns=(
        Column("house_code", "房屋编码", required=True, pattern=HOUSE_CODE),
        Column("name", "房屋名称"),
        Column("address", "地址", required=True),
        Column("use", "用途", choices=USES),
        Column("area_dm2", "建筑面积(0.01㎡)", shape=Shape.INTEGER, bounds=(0, 2_000_000_000)),
        Column("tenure", "产权性质", choices=TENURES),
        Column("rental_use", "出租情况", choices=RENTAL_USES),
        *human_columns("owner", "产权人"),
        *LOCATION,
        GRID,
    ),
)

ORGANISATIONS = DatasetSpec(
    code="organisations",
    title="法人基础库",
    kind=Kind.ORGANISATION,
    key="uscc",
    extra_public=frozenset({"status"}),
    identities=(("legal_representative.id_type", "legal_representative.id_number"),),
    columns=(
        Column("uscc", "统一社会信用代码", required=True, pattern=USCC),
        Column("name", "名称", required=True),
        Column("registration_type", "登记类型", longest=64),
        Column("scope", "经营范围"),
        Column("status", "登记状态", required=True, choices=ORGANISATION_STATUSES),
        Column("registered_address", "注册地址"),
        Column("operating_address", "经营地址"),
        Column("headcount", "从业人数", shape=Shape.INTEGER, bounds=(0, 10_000_000)),
        *human_columns("legal_representative", "法定代表人"),
        *LOCATION,
        GRID,
    ),
)

COMPONENTS = DatasetSpec(
    code="components",
    title="城市部件库",
    kind=Kind.COMPONENT,
    key="component_id",
    columns=(
        Column("component_id", "部件标识码", required=True, pattern=COMPONENT_ID),
        Column("class_code", "部件类别", required=True, pattern=r"^\d{4}$"),
        Column("name", "名称"),
        Column("owner_unit", "权属单位", pattern=CODE, longest=64),
        Column("keeper_unit", "养护单位", pattern=CODE, longest=64),
        Column("state", "状态", choices=COMPONENT_STATES),
        *REQUIRED_LOCATION,
        GRID,
    ),
)

SPECS: Mapping[str, DatasetSpec] = {spec.code: spec for spec in (HOUSES, ORGANISATIONS, COMPONENTS, POPULATION)}
"""By dataset code, in the order they are loaded."""
