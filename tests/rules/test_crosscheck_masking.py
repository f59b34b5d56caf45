"""Personal values as office roles see them."""

from typing import Any

import pytest

from backend.core.enums import Kind
from backend.kinds import KINDS
from backend.services.masking import HIDDEN, mask_id_number, mask_name, mask_phone, masked_fields, shown


@pytest.mark.parametrize(
    ("name", "masked"), [("张三丰", "张**"), ("张三", "张*"), ("欧阳娜娜", "欧阳**"), ("张", "*"), ("", "")]
)
def test_a_name_keeps_the_family_name(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@pytest.mark.parametrize(
    ("number", "masked"),
    [("44030119900101001X", "4403**********001X"), ("E12345678", "E1*****78"), ("AB1", "***"), ("", "")],
)
def test_an_id_number_keeps_its_ends(number: str, masked: str) -> None:
    assert mask_id_number(number) == masked


@pytest.mark.parametrize(("phone", "masked"), [("13800001234", "138****1234"), ("1234567", "1*****7")])
def test_a_phone_keeps_its_ends(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked


@pytest.mark.parametrize(
    ("kind", "field", "value", "visible"),
    [
        (Kind.PERSON, "name", "张三", "张*"),
        (Kind.PERSON, "birth_date", "1990-03-07", "1990-**-**"),
        (Kind.PERSON, "registered_address", "坪山街道六联社区示例路1号1栋101", "坪山街道六联***"),
        (Kind.PERSON, "house_code", "4403100000000000000000001", "440310*******************"),
        (Kind.PERSON, "sex", "male", "male"),
        (Kind.PERSON, "remark", "住在三楼", HIDDEN),
        (Kind.PERSON, "a field of a later version", {"name": "张三"}, HIDDEN),
        (Kind.PERSON, "name", None, None),
        (Kind.PERSON, "name", 7, HIDDEN),
        (Kind.HOUSE, "owner.name", "李四", "李*"),
        (Kind.HOUSE, "owner", {"name": "李四"}, HIDDEN),
        (Kind.HOUSE, "address", "坪山街道六联社区示例路1号", "坪山街道六联社区示例路1号"),
        (Kind.HOUSE, "location", {"lat": 1, "lon": 2}, HIDDEN),
        (Kind.ORGANISATION, "name", "示例餐饮店", "示例餐饮店"),
    ],
)
def test_a_field_is_shown_as_its_kind_says(kind: Kind, field: str, value: Any, visible: Any) -> None:
    assert shown(kind, field, value) == visible


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_of_a_field_that_is_not_public_is_changed_or_hidden(kind: Kind) -> None:
    harmless = {"sex", "id_type", "residence_matches_registration"}
    for name in KINDS[kind].model.model_fields.keys() - KINDS[kind].public - harmless:
        assert shown(kind, name, "一段不应该原样出现的个人信息") != "一段不应该原样出现的个人信息", name


def test_what_a_client_added_to_a_public_value_is_not_shown() -> None:
    place = {"lat": 226900000, "lon": 1143400000, "datum": "wgs84"}
    told = {**place, "told_by": "合成姓名"}
    assert shown(Kind.EVENT, "location", told) == place
    assert shown(Kind.EVENT, "location.told_by", "合成姓名") == HIDDEN
    assert shown(Kind.EVENT, "location.lat", 226900000) == 226900000
    assert shown(Kind.EVENT, "photos", [{"photo_id": "1", "who": "合成姓名"}]) == [{"photo_id": "1"}]


def test_the_name_of_a_field_that_a_client_made_up_is_not_shown() -> None:
    made_up = {"owner": {"name": "张三丰", "电话13800001234": "1"}, "合成姓名": "1", "use": "residential"}
    assert masked_fields(Kind.HOUSE, made_up) == {"owner": {"name": "张**"}, "use": "residential"}
