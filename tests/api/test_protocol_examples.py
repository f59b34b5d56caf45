"""The worked session of docs/sync-protocol.md, call by call as it is written, against the real API.

Ids and epochs that the server made differ in each run: the first time one is read it is bound to what came instead, and
from then on it has to be that. Everything else, hashes included, is compared as it stands.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend.core.settings import PROJECT_ROOT
from backend.handlers import load_handlers
from backend.tasks import run_batch
from tests.world import World

PAGE = PROJECT_ROOT / "docs" / "sync-protocol.md"
BLOCK = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MADE = re.compile(r"\b(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16})\b")
"""UUIDs, and epochs."""

LEFT_OUT = "…"


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer as the page writes it: its first line, headers and body."""

    start: str
    headers: dict[str, str]
    body: str

    @classmethod
    def read(cls, written: str) -> "Message":
        head, _, body = written.partition("\n\n")
        start, *lines = head.splitlines()
        return cls(start, dict(line.split(": ", 1) for line in lines), body)


@dataclass
class Bindings:
    """What stands for the ids that the server made. Ids of requests are the client's own and stand for themselves."""

    actual: dict[str, str] = field(default_factory=dict)

    def sent(self, written: str) -> str:
        """The text of a request with the ids that are known."""
        return MADE.sub(lambda found: self.actual.setdefault(found[0], found[0]), written)

    def same(self, written: str, came: str) -> bool:
        """Whether a text came as written, apart from ids that are read for the first time."""
        expected, got = MADE.findall(written), MADE.findall(came)
        if MADE.sub("#", written) != MADE.sub("#", came):
            return False
        return all(self.actual.setdefault(one, other) == other for one, other in zip(expected, got, strict=True))

    def matches(self, written: Any, came: Any) -> bool:
        """Whether a JSON value came as written, in whatever order its keys are; `…` stands for anything."""
        if isinstance(written, dict) and isinstance(came, dict):
            named = {key: value for key, value in written.items() if key != LEFT_OUT}
            is_whole = LEFT_OUT in written or named.keys() == came.keys()
            return is_whole and all(key in came and self.matches(value, came[key]) for key, value in named.items())
        if isinstance(written, list) and isinstance(came, list):
            return len(written) == len(came) and all(map(self.matches, written, came))
        if isinstance(written, str) and isinstance(came, str):
            return self.same(written, came)
        return type(written) is type(came) and bool(written == came)


def session() -> list[tuple[Message, Message]]:
    """The requests of the page with their answers."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## A worked session\n")[2].partition("\n## ")[0]
    messages = [Message.read(block) for block in BLOCK.findall(section)]
    return list(zip(messages[::2], messages[1::2], strict=True))


def made(request: Message, client: TestClient, tokens: dict[str, str], bindings: Bindings) -> Any:
    """The answer to a request as the page writes it. What has to be URL-encoded is written plainly there."""
    method, path = request.start.split(" ", 1)
    place, _, query = path.partition("?")
    headers = {name: bindings.sent(value).format(**tokens) for name, value in request.headers.items()}
    return client.request(
        method,
        bindings.sent(place),
        params=dict(pair.split("=", 1) for pair in query.split("&")) if query else None,
        content=bindings.sent(request.body) if request.body else None,
        headers=headers,
    )


def test_the_worked_session_runs_as_written(world: World) -> None:
    tokens = {name: world.handheld().tokens["access_token"] for name in ("A", "B")}
    tokens["S"] = world.office("data_steward")["Authorization"].removeprefix("Bearer ")
    bindings = Bindings()
    load_handlers()
    for request, expected in session():
        answer = made(request, world.client, tokens, bindings)
        run_batch("sync.project_verification")
        assert expected.start == f"HTTP/1.1 {answer.status_code}", (request, answer.text)
        for name, value in expected.headers.items():
            assert bindings.same(value, answer.headers[name]), (request, name)
        assert bindings.matches(json.loads(expected.body), answer.json()), (request.start, expected.body, answer.json())


def test_the_session_has_each_call_and_each_way_it_may_end() -> None:
    pairs = session()
    starts = " ".join(request.start for request, _ in pairs)
    for part in ("/push", "/pull", "/digest", "/receipt", "/outcomes"):
        assert part in starts
    assert {answer.start for _, answer in pairs} == {"HTTP/1.1 200", "HTTP/1.1 409"}


@pytest.mark.parametrize(
    ("written", "came", "is_same"),
    [
        ({"a": 1, LEFT_OUT: LEFT_OUT}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1], [1, 2], False),
        (1, True, False),
        (["0123456789abcdef", "0123456789abcdef"], ["a" * 16, "a" * 16], True),
        (["0123456789abcdef", "0123456789abcdef"], ["a" * 16, "b" * 16], False),
        ("x 0123456789abcdef", "y 0123456789abcdef", False),
        ("0123456789abcdef", "", False),
    ],
)
def test_the_comparison_sees_differences(written: Any, came: Any, is_same: bool) -> None:
    assert Bindings().matches(written, came) is is_same
