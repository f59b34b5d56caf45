"""Names by sound, numbers by typing errors, addresses by part: with the weights of rule set 1."""

import json
from pathlib import Path

import pytest

from workflows.crosscheck.addresses import Address, Gazetteer, gazetteer_of, normalised
from workflows.crosscheck.ruleset import Compared, Rules
from workflows.crosscheck.similarity import Scorer

SEED = Path(__file__).parents[2] / "backend" / "seed" / "data"
RULES = Rules.model_validate(json.loads((SEED / "rule_set_1.json").read_text(encoding="utf-8")))
SAME_NAME = RULES.person.compared["name"].threshold
SAME_ADDRESS = RULES.person.same_address
BASE = "坪山街道六联社区示例路1号1栋101"


def gazetteer() -> Gazetteer:
    return gazetteer_of(
        (
            ("4403", "深圳市"),
            ("440309", "龙华区"),
            ("440310", "坪山区"),
            ("440310001", "坪山街道"),
            ("440310001001", "六联社区居委会"),
            ("440310001002", "六和社区居民委员会"),
            ("440310002", "马峦街道"),
            ("440310002001", "江岭社区居委会"),
            ("440309001", "观湖街道"),
            ("440309001001", "新田社区居委会"),
            ("440309002", "民治街道"),
            ("440309002001", "新田社区居委会"),
        )
    )


def scorer() -> Scorer:
    return Scorer(RULES.likeness, gazetteer)


@pytest.mark.parametrize(
    ("mine", "theirs", "same"),
    [
        ("张三丰", "张三丰", True),
        ("张三丰", "张叁丰", True),
        ("阿依古丽·买买提", "阿依古丽.买买提", True),
        (" 李明 ", "李明", True),
        ("欧阳娜娜", "欧阳纳娜", True),
        ("张伟", "张文", False),
        ("张三", "张三丰", False),
        ("陈建国", "陈国建", False),
        ("王芳", "李芳", False),
    ],
)
def test_names_are_one_when_they_look_or_sound_alike(mine: str, theirs: str, same: bool) -> None:
    score = scorer().score("name", mine, theirs)
    assert (score >= SAME_NAME) is same, score


def test_a_name_that_only_sounds_the_same_scores_below_an_equal_one() -> None:
    assert scorer().score("name", "张三丰", "张叁丰") == pytest.approx(RULES.likeness.homophone)


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ("110101199003072316", "110101199003072316", 1.0),
        ("11010119900307231x", "11010119900307231X", 1.0),
        ("110101199003072316", "110101199003072361", 0.8),
        ("110101199003072316", "110101199003079916", 0.6),
        ("110101199003072316", "440301198512310011", 0.0),
    ],
    ids=["equal", "case", "swapped", "two-errors", "stranger"],
)
def test_numbers_lose_a_share_for_each_typing_error(mine: str, theirs: str, expected: float) -> None:
    assert scorer().score("id_number", mine, theirs) == pytest.approx(expected)


def test_phones_are_compared_without_prefix_and_punctuation() -> None:
    assert scorer().score("phone", "+86 138-0000-1234", "13800001234") == 1.0


@pytest.mark.parametrize(
    "theirs",
    [
        "广东省深圳市坪山区坪山街道六联社区示例路1号1座101房",
        "坪山街道六联社区示例路一号１幢101室",
        "深圳坪山区坪山街道六联社区示例路1-1-101",
        "坪山区 坪山街道 六联社区 示例路1号1栋101",
        "坪山区示例路1号1栋101",
        "坪山街道六联社区示利路1号1栋101",
        "坪山街道六联社区示例路1号",
    ],
    ids=["in-full", "numerals", "dashes", "spaces", "no-street", "homophone", "less-precise"],
)
def test_one_place_written_differently_is_one_place(theirs: str) -> None:
    assert scorer().score("address", BASE, theirs) >= SAME_ADDRESS


@pytest.mark.parametrize(
    "theirs",
    [
        "坪山街道六联社区示例路1号1栋102",
        "坪山街道六联社区示例路1号2栋101",
        "坪山街道六和社区示例路1号1栋101",
        "马峦街道江岭社区示例路1号1栋101",
        "坪山街道六联社区东纵路1号1栋101",
        "湖南省长沙市岳麓区示例路1号1栋101",
    ],
    ids=["room", "building", "community", "street", "road", "province"],
)
def test_another_place_is_another_place_however_similar_the_text(theirs: str) -> None:
    assert scorer().score("address", BASE, theirs) < SAME_ADDRESS


def test_an_address_is_taken_apart() -> None:
    assert gazetteer().parse(BASE) == Address("440310001001", "示例路", ("1", "1", "101"))


def test_a_community_name_that_two_streets_share_needs_its_street() -> None:
    assert gazetteer().parse("新田社区甲路2号").division == ""
    assert gazetteer().parse("民治街道新田社区甲路2号").division == "440309002001"


def test_a_division_outside_the_one_before_stays_in_the_words() -> None:
    assert gazetteer().parse("坪山街道新田社区2号") == Address("440310001", "新田社区", ("2",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("三栋十二层一百零三室", "3栋12层103"), ("3#一〇二房", "3栋102"), ("Ａ座 2 单元", "a栋2单元")],
)
def test_numerals_and_buildings_have_one_writing(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_only_fields_that_both_sides_fill_are_compared() -> None:
    compared = {"name": Compared(method="name"), "owner.name": Compared(method="name"), "sex": Compared(method="exact")}
    mine = {"name": "张三", "owner": {"name": "李四"}, "sex": ""}
    assert scorer().scores(compared, mine, {"name": "张三", "sex": "male"}) == {"name": 1.0}


def test_numbers_of_different_id_types_are_not_compared() -> None:
    compared = {"id_number": Compared(method="id_number")}
    mine = {"id_type": "passport", "id_number": "E12345678"}
    assert scorer().scores(compared, mine, {"id_type": "citizen_id", "id_number": "E12345678"}) == {}
