"""Eight clients of `bench.sync`: requests written beforehand, sent over plain sockets, answers read and no more.

So the clients cost next to nothing, and what is measured is the server and its database.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

CLIENTS = 8
Answered = tuple[int, bytes]
Check = Callable[[int, bytes], None]


def request(method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {v}" for name, v in (headers or {}).items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Line:
    """A connection to one port that is kept, and made anew where the server closed it."""

    port: int
    _socket: socket.socket | None = None

    def call(self, message: bytes) -> Answered:
        """Send a request and read its answer: status and body."""
        kept = self._socket is not None
        try:
            return self._exchange(message)
        except (ConnectionError, EOFError):
            self.close()
            if not kept:
                raise
        return self._exchange(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, message: bytes) -> Answered:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=300)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(message)
        head, rest = self._head()
        status = int(head[9:12])
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        if fields.get(b"transfer-encoding", b"").strip() == b"chunked":
            body = b"".join(self._chunks(rest))
        else:
            body = self._fixed(rest, int(fields.get(b"content-length", b"0")))
        if fields.get(b"connection", b"").strip() == b"close":
            self.close()
        return status, body

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(1 << 20)
        if not data:
            raise EOFError
        return data

    def _head(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def _fixed(self, start: bytes, length: int) -> bytes:
        parts, got = [start], len(start)
        while got < length:
            parts.append(self._more())
            got += len(parts[-1])
        return b"".join(parts)

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        while True:
            while b"\r\n" not in data:
                data += self._more()
            size, _, data = data.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            while len(data) < length + 2:
                data += self._more()
            if length == 0:
                return
            yield data[:length]
            data = data[length + 2 :]


def together(tasks: Sequence[Callable[[], None]]) -> float:
    """Run the tasks in threads, all from one moment on; the seconds until the last has ended. The first fault rises."""
    faults: list[Exception] = []
    gate = threading.Barrier(len(tasks) + 1)

    def run(task: Callable[[], None]) -> None:
        gate.wait()
        try:
            task()
        except Exception as fault:  # noqa: BLE001  raised again below
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - began
    if faults:
        raise faults[0]
    return taken


def send(ports: Sequence[int], work: Sequence[Sequence[bytes]], check: Check) -> float:
    """Let each client send its requests in turn, clients spread over the ports; seconds to the last answer."""
    lines = [Line(ports[place % len(ports)]) for place in range(len(work))]

    def client(line: Line, mine: Sequence[bytes]) -> Callable[[], None]:
        def run() -> None:
            with line:
                for message in mine:
                    check(*line.call(message))

        return run

    return together([client(line, mine) for line, mine in zip(lines, work, strict=True)])
