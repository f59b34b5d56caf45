"""Identity numbers against themselves; python-stdnum is the oracle for what it knows well."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric, uscc

from workflows.crosscheck.identity import (
    USCC_ALPHABET,
    USCC_WEIGHTS,
    Contradiction,
    contradictions,
    id_check_character,
    uscc_is_valid,
)

TODAY = date(2026, 3, 2)
GOOD = "110101199003072316"
"""A synthetic number: born 1990-03-07, male."""

digits = st.text("0123456789", min_size=17, max_size=17)


def fields_of(found: list[Contradiction]) -> list[str]:
    return [item.field for item in found]


def test_a_consistent_number_contradicts_nothing() -> None:
    assert contradictions(GOOD, birth_date="1990-03-07", sex="male", today=TODAY) == []


def test_a_lower_case_x_is_the_same_number() -> None:
    number = "44030119900101001" + id_check_character("44030119900101001")
    assert contradictions(number.lower(), birth_date=None, sex=None, today=TODAY) == []


@pytest.mark.parametrize(
    "number",
    [
        GOOD[:-1] + "7",
        "110101900307231",
        "1101011990030723AB",
        "１10101199003072316",
        "11010119900230231" + id_check_character("11010119900230231"),
        "11010120300307231" + id_check_character("11010120300307231"),
        "11010117000307231" + id_check_character("11010117000307231"),
    ],
    ids=["check", "fifteen", "letters", "wide-digit", "no-such-day", "not-born-yet", "too-old"],
)
def test_an_impossible_number_is_named_and_nothing_else(number: str) -> None:
    found = contradictions(number, birth_date="1955-05-05", sex="female", today=TODAY)
    assert found == [Contradiction("id_number", number, None)]


def test_birth_date_and_sex_are_compared_with_the_number() -> None:
    found = contradictions(GOOD, birth_date="1990-03-08", sex="female", today=TODAY)
    assert found == [
        Contradiction("birth_date", "1990-03-08", "1990-03-07"),
        Contradiction("sex", "female", "male"),
    ]


def test_an_undeclared_sex_is_not_compared() -> None:
    assert contradictions(GOOD, birth_date=None, sex="unknown", today=TODAY) == []


@given(digits)
def test_the_check_character_agrees_with_stdnum(first_seventeen: str) -> None:
    assert id_check_character(first_seventeen) == ric.calc_check_digit(first_seventeen + "0")


@given(digits, st.integers(0, 16), st.sampled_from("0123456789"))
def test_any_one_wrong_digit_is_found(first_seventeen: str, position: int, digit: str) -> None:
    number = first_seventeen + id_check_character(first_seventeen)
    wrong = number[:position] + digit + number[position + 1 :]
    if wrong != number:
        assert fields_of(contradictions(wrong, birth_date=None, sex=None, today=TODAY)) == ["id_number"]


def uscc_check_character(first_seventeen: str) -> str:
    values = [USCC_ALPHABET.index(character) for character in first_seventeen]
    total = sum(weight * value for weight, value in zip(USCC_WEIGHTS, values, strict=True))
    return USCC_ALPHABET[-total % 31]


@given(st.text(USCC_ALPHABET, min_size=9, max_size=9), st.integers(100000, 999999), st.sampled_from(USCC_ALPHABET))
def test_credit_codes_agree_with_stdnum(rest: str, area: int, check: str) -> None:
    code = f"91{area}{rest}{check}"
    assert uscc_is_valid(code) == uscc.is_valid(code)
    right = code[:17] + uscc_check_character(code[:17])
    assert uscc_is_valid(right)
    assert uscc.is_valid(right)


@pytest.mark.parametrize("code", ["", "91", "9144030071526726X", "91440300715267260I"])
def test_a_code_of_the_wrong_form_is_refused(code: str) -> None:
    assert not uscc_is_valid(code)
