"""Keys that find a person in spite of a mistake: each leaves out what may be wrong, and is blind (`KeyRing`).

Beside the id number, the phone, and birth date with surname (`records.block_index`) there are two by the sound of the
whole name, so that a character that sounds the same does no harm: with the year of birth, and with the first number of
the registered address. All are of several values together, so that none can be found by trying names or dates alone.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Any

from pypinyin import lazy_pinyin

from backend.core.crypto import key_ring

_NOT_IN_NAMES = re.compile(r"[\s·•.・‧,，()（）\-]+")
_HOUSE_NUMBER = re.compile(r"[0-9]+|[零〇一二三四五六七八九十百]+(?=号|號)")
_NUMERALS = {"零": 0, "〇": 0} | {digit: value for value, digit in enumerate("一二三四五六七八九", start=1)}


def name_year_index(name: Any, birth_date: Any) -> bytes | None:
    """The blind index of the sound of a name and the year of birth."""
    if not (isinstance(name, str) and name and isinstance(birth_date, str) and birth_date):
        return None
    return key_ring().blind_index("name_year", _sound_of_name(name), birth_date[:4])


def name_address_index(name: Any, address: Any) -> bytes | None:
    """The blind index of the sound of a name and the first number of the registered address."""
    if not (isinstance(name, str) and name and isinstance(address, str)):
        return None
    number = first_number(address)
    return key_ring().blind_index("name_address", _sound_of_name(name), number) if number else None


def plain_name(text: str) -> str:
    """A name in one writing: without spaces and points, half-width, lower case."""
    return _NOT_IN_NAMES.sub("", unicodedata.normalize("NFKC", text)).casefold()


def sound_of(text: str) -> str:
    """Pinyin without tones, a syllable for each character, whatever stands beside it."""
    return " ".join([_syllable(character) for character in text])


def first_number(address: str) -> str | None:
    """The first number, mostly that of the house in its road; digits and numerals count alike."""
    found = _HOUSE_NUMBER.search(unicodedata.normalize("NFKC", address))
    if found is None:
        return None
    number = found.group()
    return str(int(number)) if number.isascii() else str(value_of(number))


def value_of(numeral: str) -> int:
    """The value of a numeral below 1000, such as 十二 or 一百零三; digits in a row (一〇三) are read one by one."""
    if not set(numeral) & {"十", "百"}:
        return int("".join(str(_NUMERALS[character]) for character in numeral))
    value = digit = 0
    for character in numeral:
        if character in "十百":
            value += (digit or 1) * (10 if character == "十" else 100)
            digit = 0
        else:
            digit = _NUMERALS[character]
    return value + digit


@lru_cache(maxsize=2)
def _sound_of_name(name: str) -> str:
    """Both keys of a person ask for it, one after the other."""
    return sound_of(plain_name(name))


@lru_cache(maxsize=32_768)
def _syllable(character: str) -> str:
    return str(lazy_pinyin(character)[0])
