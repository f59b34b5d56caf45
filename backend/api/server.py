"""How the API speaks HTTP: uvicorn's own protocol with the bounds it lacks.

Given to uvicorn as `--http backend.api.server:BoundedProtocol` wherever the API is started. uvicorn waits for ever for
the head of a request and for bytes that nobody reads any more, and its own limit of connections counts idle ones, so
that one address that opens many would turn everybody else away. Here a silent connection is closed, and one address
gets a part of the connections only.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from backend.api.event_stream import LASTING
from backend.api.headers import ALWAYS, SecurityHeaders, complete
from backend.api.problems import RETRY_AFTER_S, render
from backend.core.errors import BadRequest, Unavailable
from backend.core.ids import new_id
from backend.core.settings import get_settings

HEAD_SECONDS = 10.0
"""For the head of a request, and for the rest of a body whose answer has been sent."""

LINGER_SECONDS = 2.0
"""For a client to take the refusal of what is no HTTP while it still sends."""


def _send_at_once(transport: asyncio.Transport) -> None:
    """Have the kernel hold nothing back. asyncio does so where the listening socket was made by itself; from one that
    it was handed (`--fd`, socket activation), head and body of an answer wait 40 ms for each other's ACK."""
    connection = transport.get_extra_info("socket")
    with suppress(OSError):  # a local socket after all
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)


async def _turned_away(scope: Scope, receive: Receive, send: Send) -> None:
    await render(Unavailable(retry_after=RETRY_AFTER_S), headers={"Connection": "close"})(scope, receive, send)


class BoundedProtocol(H11Protocol):
    """One connection. Beyond `MAX_CONNECTIONS`, or the part of one address, its calls are answered with 503."""

    _by_address: Counter[str] = Counter()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._waiting: asyncio.TimerHandle | None = None
        self._peer = ""
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _send_at_once(transport)
        self._peer = self.client[0] if self.client else ""
        self._by_address[self._peer] += 1
        if self._too_many():
            self.app = SecurityHeaders(_turned_away, https=False)
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        self._watch()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's
        """Answer what is no HTTP in the one shape of refusals; uvicorn would send bare text."""
        answer = render(BadRequest(), headers={"Connection": "close"})
        answer.headers["X-Request-Id"] = new_id().hex
        complete(answer.headers, ALWAYS, anonymous=True)
        head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more comes, and read on for a moment without looking at it.

        Closed while the client still sends, a connection is reset, and the client never sees the answer.
        """
        self._refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_waiting()
        self._waiting = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._by_address[self._peer] -= 1
        if self._by_address[self._peer] <= 0:
            del self._by_address[self._peer]
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: an answer without an end of its own is not waited for."""
        super().shutdown()
        cycle = self._last_cycle()
        if cycle is not None and not cycle.response_complete and cycle.scope.get(LASTING):
            self.transport.close()

    def _too_many(self) -> bool:
        """A proxy that uvicorn trusts speaks for many people, so it may have all connections."""
        settings = get_settings()
        if len(self.connections) > settings.max_connections:
            return True
        trusted = self.config.forwarded_allow_ips
        proxies = trusted.split(",") if isinstance(trusted, str) else trusted
        if self._peer in {proxy.strip() for proxy in proxies} or "*" in proxies:
            return False
        return self._by_address[self._peer] > settings.max_connections_per_address

    def _watch(self) -> None:
        """Run the clock while nothing is being answered and we wait for the client to finish a request."""
        cycle = self._last_cycle()
        if self._refused:
            return
        answering = cycle is not None and not cycle.response_complete
        if answering or self.transport.is_closing():
            self._stop_waiting()
        elif self._waiting is None and not self._is_between_requests():
            self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _is_between_requests(self) -> bool:
        """Between two requests uvicorn's own keep-alive timer runs."""
        idle = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        return self._last_cycle() is not None and idle

    def _last_cycle(self) -> RequestResponseCycle | None:
        """uvicorn declares it as always there; before the first request it is not."""
        return cast("RequestResponseCycle | None", self.cycle)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
