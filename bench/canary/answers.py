"""Every answer of the API as a file to be searched, without what its reader has a right to see unmasked.

What is rightful is a table with a reason on each line, so that a hole in it can be seen. Refusals are never rightful.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Right:
    """An answer that may hold personal values: as a whole, or under these keys only."""

    method: str
    path: re.Pattern[str]
    why: str
    keys: frozenset[str] | None = None


def right(method: str, path: str, why: str, *keys: str) -> Right:
    return Right(method, re.compile(path), why, frozenset(keys) or None)


DESK = "(conflicts|quarantine|verifications)"
RIGHTS: tuple[Right, ...] = (
    right("POST", r"/sync/v1/\w+/push", "a handheld gets back the records of the grids it holds"),
    right("GET", r"/sync/v1/\w+/pull", "a handheld replicates the records of the grids it holds"),
    right("GET", r"/sync/v1/outcomes", "a refused row goes back to its author until it is decided"),
    right("GET", r"/registry/v1/imports/[^/]+/rejects", "a data steward mends refused rows of his own file; audited"),
    right("POST", r"/records/v1/documents/[^/]+/unmask", "full values for a reason, which is audited"),
    right(
        "POST",
        r"/reviews/v1/(conflicts|quarantine|verifications)/[^/]+/unmask",
        "full values for a reason, which is audited",
    ),
    right(
        "GET", r"/reviews/v1/(conflicts|quarantine|verifications)/[^/]+", "a note is read by those who decide", "note"
    ),
    right("GET", r"/life/v1/access-requests/[^/]+/file", "what is held of a person is handed to that person; audited"),
    right("GET", r"/cases/v1/cases/[^/]+", "a note is read by those who handle the case", "note"),
    right("POST", r"/cases/v1/cases/[^/]+/actions/\w+", "a note is read by those who handle the case", "note"),
)


class Recorder(httpx.Client):
    """A client whose every answer is written down: status, headers and body."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(base_url=url, timeout=120, trust_env=False, event_hooks={"response": [self._keep]})
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.statuses: dict[int, int] = {}
        self._numbers = itertools.count()
        self._rights: tuple[Right, ...] = RIGHTS

    @contextmanager
    def in_full(self) -> Iterator[None]:
        """Answers within the block are searched whole, whatever their address."""
        self._rights = ()
        try:
            yield
        finally:
            self._rights = RIGHTS

    def _keep(self, answer: httpx.Response) -> None:
        answer.read()
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        body = without_rightful(answer, self._rights)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        name = f"{next(self._numbers):06d}-{answer.request.method}-{answer.status_code}.txt"
        (self.folder / name).write_bytes(f"{answer.status_code}\n{head}\n\n".encode() + body)


def without_rightful(answer: httpx.Response, rights: Iterable[Right]) -> bytes:
    """The body without what may be in it."""
    if not answer.is_success:
        return answer.content
    for one in rights:
        if one.method == answer.request.method and one.path.fullmatch(answer.request.url.path):
            if one.keys is None:
                return b""
            return json.dumps(_without(answer.json(), one.keys), ensure_ascii=False).encode()
    return answer.content


def _without(value: Any, keys: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(item, keys) for name, item in value.items() if name not in keys}
    return [_without(item, keys) for item in value] if isinstance(value, list) else value
