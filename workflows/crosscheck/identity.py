"""Identity numbers: what a number says about itself. Pure arithmetic.

Citizen id numbers and residence permits follow GB 11643, unified social credit codes GB 32100.
"""

import re
from dataclasses import dataclass
from datetime import date

ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
ID_CHECK_CHARACTERS = "10X98765432"
USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
EARLIEST_BIRTH_YEAR = 1880

_ID_FORM = re.compile(r"[0-9]{17}[0-9X]")
_USCC_FORM = re.compile(f"[{USCC_ALPHABET}]{{18}}")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A field that an id number contradicts: what was stated, and what the number says (None: it is impossible)."""

    field: str
    stated: str
    implied: str | None


def id_check_character(first_seventeen: str) -> str:
    """The 18th character of a citizen id number."""
    total = sum(weight * int(digit) for weight, digit in zip(ID_WEIGHTS, first_seventeen, strict=True))
    return ID_CHECK_CHARACTERS[total % 11]


def birth_date_in(number: str) -> date | None:
    """The birth date inside an 18-character number, None where the calendar has no such day."""
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None


def sex_in(number: str) -> str:
    """`male` where the 17th digit is odd."""
    return "male" if int(number[16]) % 2 else "female"


def contradictions(number: str, *, birth_date: str | None, sex: str | None, today: date) -> list[Contradiction]:
    """Where a citizen id number is wrong in itself, or contradicts the birth date or the sex stated beside it.

    Sexes other than male and female are not compared.
    """
    number = number.strip().upper()
    if not _ID_FORM.fullmatch(number) or id_check_character(number[:17]) != number[17]:
        return [Contradiction("id_number", number, None)]
    born = birth_date_in(number)
    if born is None or born > today or born.year < EARLIEST_BIRTH_YEAR:
        return [Contradiction("id_number", number, None)]
    found = []
    if birth_date and birth_date != born.isoformat():
        found.append(Contradiction("birth_date", birth_date, born.isoformat()))
    if sex in ("male", "female") and sex != sex_in(number):
        found.append(Contradiction("sex", sex, sex_in(number)))
    return found


def uscc_is_valid(code: str) -> bool:
    """Whether a unified social credit code has the right form and check character."""
    code = code.strip().upper()
    if not _USCC_FORM.fullmatch(code):
        return False
    total = sum(weight * USCC_ALPHABET.index(character) for weight, character in zip(USCC_WEIGHTS, code, strict=False))
    return USCC_ALPHABET[-total % 31] == code[17]
