"""How a department's text file is written: its encoding and what separates its cells, told from its beginning."""

import csv
from collections.abc import Sequence

BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DELIMITERS = ",\t;|"
LINES_TRIED = 1000


def encoding_of(head: bytes) -> str:
    """`utf-8-sig`, `utf-16` (with its mark) or `gb18030`, as a codec is called.

    Without a mark the header decides where it is not plain ASCII, else what most lines are: so one row in another
    encoding costs that row, and does not turn all others into noise. GB18030 can read most of what is UTF-8, and not
    the other way round, so UTF-8 is asked first.
    """
    for mark, name in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return name
    lines = head.split(b"\n", LINES_TRIED)[:LINES_TRIED]
    telling = [line for line in (lines if lines[0].isascii() else lines[:1]) if not line.isascii()]
    others = [line for line in telling if not _decodes(line, "utf-8")]
    chinese = sum(_decodes(line, "gb18030") for line in others)
    return "gb18030" if chinese > len(telling) - len(others) else "utf-8-sig"


def delimiter_of(header: str, names: Sequence[str]) -> str:
    """What cuts the header into the most of the names; a comma where nothing is better."""
    known = set(names)
    return max(DELIMITERS, key=lambda mark: sum(title.strip() in known for title in _cut(header, mark)))


def _cut(header: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:
        return []


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
