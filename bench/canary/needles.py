"""Finds canaries in bytes, whatever encoding they went through on the way.

The search is for marks, because they are few; what follows a mark is then decoded and looked up, so that a mark which
came about by chance (eight digits in random text) is no sighting. Marks are found by `bytes.find`, which reads about a
gigabyte a second, one mark and encoding at a time.
"""

import base64
import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from bench.canary import people
from bench.canary.people import Identity

WINDOW = 400
"""Bytes looked at from a mark on: the longest writing of the longest value is shorter."""

Decode = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A canary where it must not be."""

    field: str
    encoding: str
    number: int
    offset: int


@dataclass(frozen=True, slots=True)
class Field:
    """A kind of value: its marks, and what a whole value looks like.

    `alone`: a value this short also comes about by chance in long hexadecimal numbers, so none may stand in one.
    """

    name: str
    marks: tuple[str, ...]
    whole: re.Pattern[str]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Needle:
    """A mark, or what can be sought of it, in one encoding, and how to read on from there."""

    field: Field
    encoding: str
    sought: bytes
    decode: Decode


_END = "(?![0-9A-Fa-f])"
_HEX = frozenset(bytes([digit]) for digit in b"0123456789abcdefABCDEF")

FIELDS = (
    Field("name", (people.NAME_MARK,), re.compile(f"{people.NAME_MARK}[{people.NAME_DIGITS}]{{5}}")),
    Field("address", (people.ADDRESS_MARK,), re.compile(rf"{people.ADDRESS_MARK}\d{{5}}")),
    Field("id_number", (people.ID_MARK,), re.compile(rf"{people.ID_MARK}\d{{9}}[\dX]")),
    Field("phone", (people.PHONE_MARK,), re.compile(rf"{people.PHONE_MARK}\d{{5}}{_END}"), alone=True),
    Field("lat", (people.LAT_MARK, people.LAT_DECIMAL_MARK), re.compile(rf"22\.?61\d+{_END}"), alone=True),
    Field("lon", (people.LON_MARK, people.LON_DECIMAL_MARK), re.compile(rf"114\.?31\d+{_END}"), alone=True),
)


def _utf8(found: bytes) -> str:
    return found.decode(errors="ignore")


def _codec(name: str) -> Decode:
    return lambda found: found[: len(found) // 2 * 2].decode(name, errors="ignore")


def _json(found: bytes) -> str:
    r"""`龘` as a character; also where the backslash itself was escaped again, and again."""
    text = re.sub(r"\\+u", r"\\u", found.decode("ascii", errors="ignore"))
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)


def _url(found: bytes) -> str:
    return unquote(found.decode("ascii", errors="ignore"), errors="ignore")


def _html(found: bytes) -> str:
    return html.unescape(found.decode("ascii", errors="ignore"))


def _repr(found: bytes) -> str:
    r"""Python's `b'\xe9\xbe\x98'`, and PostgreSQL's `\351\276\230`."""
    text = found.decode("ascii", errors="ignore")
    raw = re.sub(r"\\+x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
    raw = re.sub(r"\\+([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), raw)
    return raw.encode("latin-1", errors="ignore").decode(errors="ignore")


def _hex(found: bytes) -> str:
    digits = re.match(rb"[0-9a-fA-F]*", found)
    even = digits[0][: len(digits[0]) // 2 * 2] if digits else b""
    return bytes.fromhex(even.decode()).decode(errors="ignore")


def _base64_after(lost: bytes) -> Decode:
    """For a mark that begins inside a group: its first bytes, which the needle does not hold, and what follows them."""

    def decode(found: bytes) -> str:
        letters = re.match(rb"[A-Za-z0-9+/_-]*", found)
        text = letters[0].replace(b"-", b"+").replace(b"_", b"/") if letters else b""
        text = text[:-1] if len(text) % 4 == 1 else text
        return (lost + base64.b64decode(text + b"=" * (-len(text) % 4))).decode(errors="ignore")

    return decode


def _needles_of(field: Field, mark: str) -> Iterator[Needle]:
    plain = mark.encode()
    yield Needle(field, "utf-8", plain, _utf8)
    for codec in ("utf-16-le", "utf-16-be"):
        yield Needle(field, codec, mark.encode(codec), _codec(codec))
    for sought in {plain.hex(), plain.hex().upper()}:
        yield Needle(field, "hex", sought.encode(), _hex)
    yield from _base64_needles(field, mark)
    if not mark.isascii():
        yield Needle(field, "gb18030", mark.encode("gb18030"), lambda found: found.decode("gb18030", "ignore"))
        for way, sought, decode in _escapes(mark):
            yield Needle(field, way, sought.encode(), decode)


def _escapes(mark: str) -> Iterator[tuple[str, str, Decode]]:
    """Writings of a character that is not ASCII, in small and in capital letters. Escapes of escapes hold them too."""
    first = mark[0]
    for escaped in (f"u{ord(first):04x}", f"u{ord(first):04X}"):
        yield "json", f"\\{escaped}", _json
    for quoted in (quote(mark), quote(mark).lower()):
        yield "url", quoted, _url
    for reference in (f"&#{ord(first)};", f"&#x{ord(first):x};", f"&#x{ord(first):X};"):
        yield "html", reference, _html
    yield "repr", "".join(f"\\x{byte:02x}" for byte in first.encode()), _repr
    yield "octal", "".join(f"\\{byte:03o}" for byte in first.encode()), _repr


def _base64_needles(field: Field, mark: str) -> Iterator[Needle]:
    """The mark may begin at any byte of a group of three: what of it makes whole groups is sought.

    Nothing is left of `2261` at one of the three; the longitude, which goes with it, is found there.
    """
    plain = mark.encode()
    for lost in range(3):
        groups = (len(plain) - lost) // 3
        standard = base64.b64encode(plain[lost : lost + 3 * groups])
        for sought in {standard, standard.replace(b"+", b"-").replace(b"/", b"_")} - {b""}:
            yield Needle(field, "base64", sought, _base64_after(plain[:lost]))


NEEDLES: tuple[Needle, ...] = tuple(
    needle for field in FIELDS for mark in field.marks for needle in _needles_of(field, mark)
)


class Searcher:
    """Looks for a set of canaries. `more` are further writings of their places, e.g. in another datum."""

    def __init__(self, wanted: Iterable[Identity], more: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self._known: dict[str, dict[str, int]] = {
            field.name: dict((more or {}).get(field.name, {})) for field in FIELDS
        }
        for one in wanted:
            for name, writings in one.values().items():
                for writing in writings:
                    self._known[name][_key(name, writing)] = one.number

    def search(self, buffer: bytes) -> list[Sighting]:
        """All canaries in a piece of bytes, each writing at each place."""
        return list(self._search(buffer))

    def _search(self, buffer: bytes) -> Iterator[Sighting]:
        for needle in NEEDLES:
            offset = buffer.find(needle.sought)
            while offset >= 0:
                number = self._whose(needle, buffer[offset : offset + WINDOW])
                if number is not None and not _inside_a_number(needle, buffer, offset):
                    yield Sighting(needle.field.name, needle.encoding, number, offset)
                offset = buffer.find(needle.sought, offset + 1)

    def _whose(self, needle: Needle, found: bytes) -> int | None:
        whole = needle.field.whole.match(needle.decode(found))
        return self._known[needle.field.name].get(whole[0]) if whole else None


def _inside_a_number(needle: Needle, buffer: bytes, offset: int) -> bool:
    """Also inside a time: `23:44:22.616434` holds no latitude. In JSON a quotation mark stands before the colon."""
    is_digits = needle.field.alone and needle.encoding == "utf-8"
    before = buffer[max(0, offset - 2) : offset]
    return is_digits and (before[-1:] in _HEX or (before[1:] == b":" and before[:1].isdigit()))


def _key(name: str, writing: str) -> str:
    """What of a value is looked up: from the mark on, as `Field.whole` cuts it."""
    field = next(field for field in FIELDS if field.name == name)
    found = field.whole.search(writing)
    if found is None:
        raise ValueError(f"{name}: {writing} carries no mark")
    return found[0]


def writings_of(value: str) -> Sequence[tuple[str, bytes]]:
    """A value in every encoding that is looked for, each with its name: what the search is tried on."""
    plain = value.encode()
    escaped = value.encode("ascii", "backslashreplace")
    return [
        ("utf-8", plain),
        ("utf-16-le", value.encode("utf-16-le")),
        ("utf-16-be", value.encode("utf-16-be")),
        ("gb18030", value.encode("gb18030")),
        ("json", escaped),
        ("json, twice", escaped.replace(b"\\", b"\\\\")),
        ("url", quote(value).encode()),
        ("url, small letters", re.sub("%..", lambda match: match[0].lower(), quote(value)).encode()),
        ("html", "".join(f"&#{ord(letter)};" if not letter.isascii() else letter for letter in value).encode()),
        ("repr", repr(plain).encode()),
        ("octal", "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in plain).encode()),
        ("hex", plain.hex().encode()),
        ("HEX", plain.hex().upper().encode()),
        *((f"base64 from byte {shift}", base64.b64encode(b"x" * shift + plain + b"yy")) for shift in range(3)),
        *((f"base64url from byte {shift}", base64.urlsafe_b64encode(b"x" * shift + plain)) for shift in range(3)),
    ]
