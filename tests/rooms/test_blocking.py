"""Keys by which a person is found in spite of a mistake."""

import pytest

from backend.services.blocking import first_number, name_address_index, name_year_index, sound_of


def test_a_name_that_sounds_the_same_has_the_same_key() -> None:
    assert name_year_index("张三丰", "1990-03-07") == name_year_index("章叁峰", "1990-12-31")
    assert name_year_index("欧阳 娜", "1990-03-07") == name_year_index("欧阳·娜", "1990-03-07")
    assert name_year_index("张三丰", "1990-03-07") != name_year_index("张三", "1990-03-07")
    assert name_year_index("张三丰", "1990-03-07") != name_year_index("张三丰", "1991-03-07")


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("广东省深圳市坪山区六联社区示例路12号1栋101", "12"),
        ("坪山街道六联社区示例路１２號一栋", "12"),
        ("示例路十二号", "12"),
        ("示例路一〇三号", "103"),
        ("示例路012号", "12"),
        ("示例路", None),
        ("", None),
    ],
)
def test_the_number_of_a_house_is_read_in_every_writing(address: str, number: str | None) -> None:
    assert first_number(address) == number


def test_an_address_is_known_by_the_number_of_its_house() -> None:
    first = name_address_index("王伟", "示例路12号1栋101")
    assert first == name_address_index("王玮", "深圳市示例路12号2-305")
    assert first != name_address_index("王伟", "示例路21号1栋101")


def test_what_is_not_known_has_no_key() -> None:
    assert name_year_index("", "1990-03-07") is None
    assert name_year_index("王伟", None) is None
    assert name_address_index("王伟", None) is None
    assert name_address_index("王伟", "示例路") is None
    assert name_address_index(None, "示例路12号") is None


def test_the_two_keys_of_a_person_have_nothing_in_common() -> None:
    assert name_year_index("王伟", "1212-01-01") != name_address_index("王伟", "1212号")


def test_sounds_are_syllables_whatever_stands_beside_them() -> None:
    assert sound_of("王小二") == "wang xiao er"
    assert sound_of("曾") in sound_of("曾经").split()
