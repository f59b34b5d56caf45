"""Cutting a push body into rows without trusting any of them.

The quick reader takes whole bodies; where it gives up, because of one lone surrogate or one deeply nested row among
good ones, slower readers still find the rows, so that one of them never costs the others.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from backend.core.errors import Malformed, NotJson

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)
_ROWS_KEY = re.compile(rb'"rows"\s*:\s*\[')


class _Envelope(msgspec.Struct):
    rows: list[msgspec.Raw]


def raw_rows(body: bytes) -> list[bytes]:
    """Each row's own bytes. `NotJson` where the body is none, `Malformed` where it has no list of rows."""
    try:
        return [bytes(row) for row in msgspec.json.decode(body, type=_Envelope).rows]
    except msgspec.ValidationError as error:
        raise Malformed("rows: a list is required") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _rows_of_odd_body(body)


def leniently(raw: bytes) -> Any:
    """A row as Python's own reader sees it, None where that gives up too."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def scraped(raw: bytes, names: tuple[str, ...]) -> dict[str, str]:
    """The first text value of each name in bytes that cannot be parsed: a guess, good enough to name a row."""
    found = {}
    for name in names:
        match = re.search(rb'"%s"\s*:\s*"([^"\\\\]{1,64})"' % name.encode(), raw)
        if match:
            found[name] = match[1].decode(errors="replace")
    return found


def _rows_of_odd_body(body: bytes) -> list[bytes]:
    try:
        envelope = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        return list(_cut(body))
    except ValueError as error:
        raise NotJson from error
    if not isinstance(envelope, dict) or not isinstance(envelope.get("rows"), list):
        raise Malformed("rows: a list is required")
    return [json.dumps(row).encode() for row in envelope["rows"]]


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _cut(body: bytes) -> Iterator[bytes]:
    """Rows of a body that is nested too deeply for any parser, by counting brackets. `NotJson` where they do not match.

    Only the brackets are looked at; each row is read by itself afterwards.
    """
    opening = _ROWS_KEY.search(body)
    if opening is None:
        raise NotJson
    depth, start = 0, opening.end()
    for token in _TOKEN.finditer(body, start):
        mark = token[0][:1]
        if mark in b"[{":
            depth += 1
        elif mark == b"," and depth == 0:
            yield body[start : token.start()].strip()
            start = token.end()
        elif mark in b"]}" and depth > 0:
            depth -= 1
        elif mark == b"]":
            last = body[start : token.start()].strip()
            yield from [last] if last else []
            return
    raise NotJson
