"""The server closes connections on which nothing comes, and one address cannot take all of them."""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from backend.api import server
from backend.api.server import BoundedProtocol
from backend.core.settings import PROJECT_ROOT, get_settings
from backend.dev import SERVER_OPTIONS
from tests.world import until

HEAD = b"POST / HTTP/1.1\r\nHost: here\r\n"
PATIENCE_S = 10.0


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers `/unread` before the body, and anything else after it."""
    if scope["type"] == "lifespan":
        return
    size = 0 if scope["path"] == "/unread" else len(await Request(scope, receive).body())
    await PlainTextResponse(str(size))(scope, receive, send)


@contextmanager
def _serving(*, by_descriptor: bool = False, **options: Any) -> Iterator[Callable[[], socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0))
    if by_descriptor:  # as socket activation, and `tests.live`, start the API
        options["fd"] = listener.fileno()
    config = uvicorn.Config(
        _app,
        http=BoundedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        **{"proxy_headers": False, **options},
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(None if by_descriptor else [listener])))
    thread.start()
    until(lambda: running.started, what="server started")
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(listener.getsockname(), timeout=PATIENCE_S))
        return opened[-1]

    try:
        yield connect
    finally:
        for connection in opened:
            connection.close()
        running.should_exit = True
        thread.join()
        listener.close()


@pytest.mark.parametrize("by_descriptor", [False, True])
def test_the_kernel_holds_nothing_back(monkeypatch: pytest.MonkeyPatch, by_descriptor: bool) -> None:
    made: list[asyncio.Transport] = []
    before = BoundedProtocol.connection_made

    def noted(self: BoundedProtocol, transport: asyncio.Transport) -> None:
        before(self, transport)
        made.append(transport)

    monkeypatch.setattr(BoundedProtocol, "connection_made", noted)
    with _serving(by_descriptor=by_descriptor) as connect:
        connection = connect()
        connection.sendall(HEAD + b"Content-Length: 1\r\n\r\n1")
        assert _answer(connection).endswith(b"1")
        taken = made[0].get_extra_info("socket")
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def _answer(connection: socket.socket) -> bytes:
    """One whole answer."""
    got = b""
    while True:
        head, whole, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if whole and length and len(body) >= int(length[1]):
            return got
        got += connection.recv(65536)


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server ends it, within the patience of the test."""
    while True:
        try:
            if not connection.recv(65536):
                return True
        except ConnectionResetError:
            return True


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)


@pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD])
def test_a_connection_without_a_whole_head_is_closed(sent: bytes) -> None:
    with _serving() as connect:
        connection = connect()
        connection.sendall(sent)
        assert _is_closed(connection)


def test_a_slow_head_after_a_good_call_is_closed_too() -> None:
    with _serving(timeout_keep_alive=60) as connect:
        connection = connect()
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nab")
        assert b"200 OK" in _answer(connection)
        connection.sendall(b"POST / HTTP/1.1\r\nHo")
        assert _is_closed(connection)


def test_a_body_nobody_reads_is_not_waited_for() -> None:
    with _serving(timeout_keep_alive=60) as connect:
        connection = connect()
        connection.sendall(HEAD.replace(b"/ ", b"/unread ") + b"Content-Length: 1000\r\n\r\n")
        assert b"200 OK" in _answer(connection)
        connection.sendall(b"x")
        assert _is_closed(connection)


def test_work_may_take_longer_than_a_head() -> None:
    with _serving() as connect:
        connection = connect()
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\na")
        threading.Timer(0.6, connection.sendall, [b"b"]).start()
        assert b"200 OK" in _answer(connection)


def test_calls_one_after_the_other_share_a_connection() -> None:
    with _serving() as connect:
        connection = connect()
        for _ in range(3):
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nab")
            assert b"200 OK" in _answer(connection)


@pytest.mark.parametrize(
    ("name", "options", "third"),
    [
        ("MAX_CONNECTIONS", {}, 503),
        ("MAX_CONNECTIONS_PER_ADDRESS", {}, 503),
        ("MAX_CONNECTIONS_PER_ADDRESS", {"forwarded_allow_ips": "127.0.0.1"}, 200),
    ],
)
def test_too_many_connections_are_turned_away(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], third: int
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 60)
    monkeypatch.setenv(name, "2")
    get_settings.cache_clear()
    with _serving(**{"forwarded_allow_ips": "", **options}) as connect:
        held = [connect(), connect()]
        until(lambda: BoundedProtocol._by_address["127.0.0.1"] == 2, what="two connections")
        connection = connect()
        connection.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        answer = _answer(connection)
        assert answer.startswith(f"HTTP/1.1 {third}".encode())
        if third == 503:
            assert b"retry-after: 5" in answer.lower()
            assert b'"unavailable"' in answer
            assert b"x-content-type-options: nosniff" in answer.lower()
        held.pop().close()
        until(lambda: BoundedProtocol._by_address["127.0.0.1"] <= 2, what="one gone")
        fresh = connect()
        fresh.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        assert b"HTTP/1.1 200" in _answer(fresh) or third == 503
    get_settings.cache_clear()


def test_what_is_no_http_is_refused_in_the_one_shape_while_it_still_comes() -> None:
    """Without reading on, the connection would be reset, under the answer if the client is slow to read it."""
    with _serving(h11_max_incomplete_event_size=1024) as connect:
        connection = connect()
        connection.sendall(b"GET /" + b"x" * 5_000)
        answer = _answer(connection)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b'"bad_request"' in answer
        assert b"x-request-id: " in answer.lower()
        assert b"x-frame-options: deny" in answer.lower()
        for _ in range(10):
            connection.sendall(b"x" * 50_000)
        assert connection.recv(1) == b"", "ended in order and not reset"


def test_a_refused_client_that_sends_for_ever_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.2)
    with _serving(h11_max_incomplete_event_size=1024) as connect:
        connection = connect()

        def is_over() -> bool:
            try:
                connection.sendall(b"x" * 5_000)
            except OSError:
                return True
            return False

        until(is_over, seconds=PATIENCE_S, what="the server closes")


def test_the_image_starts_the_server_with_the_same_options() -> None:
    entrypoint = " ".join((PROJECT_ROOT / "docker" / "entrypoint").read_text().replace("\\\n", " ").split())
    assert " ".join(SERVER_OPTIONS) in entrypoint
