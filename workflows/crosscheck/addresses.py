"""Chinese addresses made comparable: division, wording and numbers taken apart. Pure.

`广东省深圳市坪山区坪山街道六联社区示例路1号1座101房` and `坪山街道六联社区示例路一号1栋101` are one place. Divisions
are found by their names in the territory table; what is left is split into words and numbers. Two addresses in
divisions that exclude each other, or with different numbers, are not alike, however similar their characters are.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from backend.services.blocking import value_of

_COMMITTEE = ("居民委员会", "居委会", "居委")
_PROVINCE = re.compile(r"^([一-鿿]{2,3}省|[一-鿿]{2,5}自治区)")
_DASH = re.compile(r"(?<=[0-9a-z])[-—–_/~](?=[0-9a-z])")
_NOISE = re.compile(r"[\s,，.。;；:：()（）\-—–_/、~]+")
_BUILDING = re.compile(r"(?<=[0-9a-z])(号楼|号栋|幢|座|#)")
_ROOM = re.compile(r"(?<=[0-9a-z])(房间|房号|号房|室号|号室|房|室|户)")
_NUMERAL = re.compile(r"[零〇一二三四五六七八九十百]+(?=号|栋|幢|座|单元|层|楼|室|房|巷|弄|期)")
_NUMBER = re.compile(r"[0-9]+|[a-z]+")
_UNIT_WORDS = re.compile(r"号|栋|单元|层|楼|巷|弄|期|\|")


@dataclass(frozen=True, slots=True)
class Address:
    """`division` is the code of the smallest unit named, empty where none is; codes of units begin with their parent's.

    `words` is what is left without numbers and unit words, `numbers` the numbers and letters in order.
    """

    division: str
    words: str
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Gazetteer:
    """The names of divisions with the codes of the units that bear them."""

    codes: Mapping[str, tuple[str, ...]]
    longest: int

    def parse(self, text: str) -> Address:
        """Take an address apart. Divisions unknown to the table stay in the words."""
        return _parsed(self, text)

    def leading_name(self, text: str, inside: str) -> tuple[str, list[str]]:
        """The longest name of a unit inside a division that the text begins with, and the units of that name."""
        for length in range(min(self.longest, len(text)), 1, -1):
            units = [code for code in self.codes.get(text[:length], ()) if _is_below(code, inside)]
            if units:
                return text[:length], units
        return "", []


@lru_cache(maxsize=2)
def gazetteer_of(units: tuple[tuple[str, str], ...]) -> Gazetteer:
    """From (code, name) pairs of the territory table."""
    codes: dict[str, set[str]] = {}
    for code, name in units:
        for written in _writings(code, name):
            codes.setdefault(written, set()).add(code)
    ordered = {name: tuple(sorted(found)) for name, found in codes.items()}
    return Gazetteer(ordered, max(map(len, ordered), default=0))


def _writings(code: str, name: str) -> Iterable[str]:
    """How addresses write a unit: 六联社区居委会 as 六联社区, 深圳市 also as 深圳."""
    if len(code) < 6:
        return (name, name.removesuffix("市"))
    if len(code) < 12:
        return (name,)
    for ending in _COMMITTEE:
        name = name.removesuffix(ending)
    return (name if name.endswith("社区") else f"{name}社区",)


def _is_below(code: str, division: str) -> bool:
    return code.startswith(division) and code != division


@lru_cache(maxsize=4096)
def _parsed(gazetteer: Gazetteer, text: str) -> Address:
    division, rest = _split_division(gazetteer, normalised(text))
    numbers = tuple(number.lstrip("0") or "0" for number in _NUMBER.findall(rest))
    return Address(division, _UNIT_WORDS.sub("", _NUMBER.sub("", rest)), numbers)


def _split_division(gazetteer: Gazetteer, text: str) -> tuple[str, str]:
    """Take division names off the front, from large to small; each lies inside the one before."""
    text, division = _PROVINCE.sub("", text), ""
    while True:
        name, units = gazetteer.leading_name(text, division)
        if not name:
            return division, text
        division, text = (units[0] if len(units) == 1 else division), text[len(name) :]


def normalised(text: str) -> str:
    """One writing: NFKC, lower case, no punctuation, 栋 for 幢 and 座, digits for numerals, no word for the room."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = _NOISE.sub("", _DASH.sub("|", text))
    text = _NUMERAL.sub(lambda match: str(value_of(match.group())), text)
    return _ROOM.sub("", _BUILDING.sub("栋", text))


def divisions_agree(a: str, b: str) -> bool:
    """Whether one division lies inside the other, or one is not named."""
    return a.startswith(b) or b.startswith(a)


def is_part_of(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether the numbers of one address come in the same order among those of the other."""
    short, long = sorted((a, b), key=len)
    rest = iter(long)
    return all(number in rest for number in short)
