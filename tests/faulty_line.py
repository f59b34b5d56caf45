"""A bad line between a client and the server: a proxy that knows where requests end and breaks them on purpose.

Each request with a body, or that begins an upload, may be given a `Fault`: where in the body it strikes, and what
happens then. The line may also be slow, and lose connections by chance. It counts what the client sent.
"""

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from typing import Self

PIECE_BYTES = 16 * 1024
HEAD_END = b"\r\n\r\n"
PATIENCE_SECONDS = 60.0
REFUSED_SECONDS = 0.3


class Kind(StrEnum):
    """`CUT`: both sides lose the connection. `TRUNCATE`: the server sees the body end early, the client hears what it
    says. `STALL`: nothing more comes until the server gives up. `DUPLICATE`: the request arrives twice, over two
    connections, and the client hears the second answer. `ANSWER`: the request arrives, its answer does not, or in
    part."""

    CUT = "cut"
    TRUNCATE = "truncate"
    STALL = "stall"
    DUPLICATE = "duplicate"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Fault:
    """`share` of the body (of the answer's head for `ANSWER`) passes before it strikes."""

    kind: Kind
    share: float


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head, and how many bytes follow it."""

    head: bytes
    method: str
    path: str
    length: int


FAULTS = [Fault(kind, share) for kind in Kind for share in (0.0, 0.5, 1.0)]

Plan = Callable[[Request], Fault | None]
Count = Callable[[int, int], None]
"""Called with the port of a server and the bytes it was just sent."""


@dataclass
class Breaker:
    """What happens to the requests of one upload: each part of it is broken once, in turn by every fault."""

    faults: "cycle[Fault]"
    met: Counter[Kind] = field(default_factory=Counter)
    _broken: set[tuple[str, bytes]] = field(default_factory=set)

    def __call__(self, request: Request) -> Fault | None:
        """The fault of this request. A part that was broken passes when it comes again, so that all ends well."""
        offset = next((line for line in request.head.lower().split(b"\r\n") if line.startswith(b"upload-offset")), b"")
        part = (request.method, offset)
        if request.method == "HEAD" or part in self._broken:
            return None
        self._broken.add(part)
        fault = next(self.faults)
        self.met[fault.kind] += 1
        return fault


class _Over(Exception):
    """This connection is done with."""


@dataclass
class Line:
    """Listens on a port of its own and forwards each connection to one of `servers`.

    `rate` is in bytes a second from client to server; `loss` the chance that a connection is cut within 64 KiB.
    """

    servers: Callable[[], Sequence[tuple[str, int]]]
    """Who is there now: asked for each connection, as a balancer looks at the health of its servers."""
    plan: Plan = lambda _: None
    count: Count = lambda _port, _sent: None
    rate: float = 0.0
    loss: float = 0.0
    chance: random.Random = field(default_factory=random.Random)
    sent: int = 0
    """Bytes that the client put on the line, heads and bodies."""
    cuts: int = 0
    _listener: socket.socket = field(init=False)
    _open: set[socket.socket] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _reset(connection)

    @property
    def url(self) -> str:
        """Where the client is to call."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """All requests of one connection, each with its answer before the next."""
        client.settimeout(PATIENCE_SECONDS)
        self._open.add(client)
        with contextlib.suppress(OSError, _Over), self._server() as (port, server):
            rest = b""
            while True:
                request, rest = self._head(client, rest)
                self._carry(client, server, port, request, rest)
                rest = b""
        _reset(client)
        self._open.discard(client)

    @contextlib.contextmanager
    def _server(self) -> Iterator[tuple[int, socket.socket]]:
        server = self.chance.choice(self.servers())
        with socket.create_connection(server, timeout=PATIENCE_SECONDS) as connection:
            yield server[1], connection

    def _head(self, client: socket.socket, rest: bytes) -> tuple[Request, bytes]:
        while HEAD_END not in rest:
            rest += self._from_client(client)
        head, _, body = rest.partition(HEAD_END)
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
        lengths = [int(value) for name, _, value in lines if name.lower() == b"content-length"]
        return Request(head + HEAD_END, method, path, lengths[0] if lengths else 0), body

    def _from_client(self, client: socket.socket) -> bytes:
        piece = client.recv(PIECE_BYTES)
        if not piece:
            raise _Over
        self.sent += len(piece)
        if self.rate:
            time.sleep(len(piece) / self.rate)
        if self.loss and self.chance.random() < self.loss * len(piece) / 65536:
            self.cuts += 1
            raise _Over
        return piece

    def _carry(self, client: socket.socket, server: socket.socket, port: int, request: Request, body: bytes) -> None:
        """One request to the server and its answer back, unless a fault comes between."""
        fault = self.plan(request)
        ends = request.length if fault is None or fault.kind in (Kind.ANSWER, Kind.DUPLICATE) else None
        limit = ends if ends is not None or fault is None else int(request.length * fault.share)
        assert limit is not None
        whole = self._pass(client, server, port, request, body, limit)
        if fault is None:
            self._answer(server, client, request)
            return
        if fault.kind is Kind.CUT:
            _reset(server)
            raise _Over
        if fault.kind is Kind.DUPLICATE:
            self._again(client, server, request, whole)
        elif fault.kind is Kind.ANSWER:
            self._answer(server, client, request, share=fault.share)
        else:
            if fault.kind is Kind.TRUNCATE:
                server.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError, _Over):
                self._answer(server, client, request)
        raise _Over

    def _pass(
        self, client: socket.socket, server: socket.socket, port: int, request: Request, body: bytes, limit: int
    ) -> bytes:
        """Forward the head and `limit` bytes of the body; gives what was forwarded of the body."""
        passed = bytearray()
        self._to_server(server, port, request.head)
        while len(passed) < limit:
            if _says_something(server):
                self._refused(client, server, request)
            piece = (body or self._from_client(client))[: limit - len(passed)]
            body = b""
            self._to_server(server, port, piece)
            passed += piece
        return bytes(passed)

    def _refused(self, client: socket.socket, server: socket.socket, request: Request) -> None:
        """The server has answered before the body has ended. The client hears it, and for a moment sends on."""
        self._answer(server, client, request)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(REFUSED_SECONDS)
        end = time.monotonic() + REFUSED_SECONDS
        while time.monotonic() < end:
            self._from_client(client)
        raise _Over

    def _to_server(self, server: socket.socket, port: int, piece: bytes) -> None:
        server.sendall(piece)
        self.count(port, len(piece))

    def _again(self, client: socket.socket, server: socket.socket, request: Request, body: bytes) -> None:
        """Deliver the request a second time, to either server, while the first may still be at work."""
        with self._server() as (port, other):
            self._to_server(other, port, request.head + body)
            self._answer(other, client, request)
        _reset(server)

    def _answer(
        self, server: socket.socket, client: socket.socket, request: Request, *, share: float | None = None
    ) -> None:
        """Forward one answer; only a part of its head where `share` is given."""
        data = b""
        while HEAD_END not in data:
            piece = server.recv(PIECE_BYTES)
            if not piece:
                raise _Over
            data += piece
        head, _, body = data.partition(HEAD_END)
        if share is not None:
            client.sendall(head[: int(len(head) * share)])
            return
        lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = 0 if request.method == "HEAD" else (lengths[0] if lengths else 0) - len(body)
        client.sendall(data)
        while missing > 0:
            piece = server.recv(min(missing, PIECE_BYTES))
            if not piece:
                raise _Over
            client.sendall(piece)
            missing -= len(piece)


def _says_something(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def _reset(connection: socket.socket) -> None:
    """End a connection as a lost line does: without a farewell, and what is on its way is gone."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
