"""The one way out: calls to outside services go to named hosts only, and never inward because a name says so.

Only hosts that the settings name are called: WeChat's API, Google's for Firebase, and `OUTBOUND_HOSTS`. A name is
resolved once for a call and the connection goes to that very address, while the certificate is checked against the
name: a resolver that answers differently the second time (rebinding) gains nothing. An address inside (loopback,
private, link-local, metadata services, and those written in IPv6) is refused unless the settings name that address
itself: `http://127.0.0.1:9000` as `WECHAT_API_URL`, or `proxy.city.example@10.0.0.5` in `OUTBOUND_HOSTS`.
No redirect is followed, no proxy is taken from the environment, answers are bounded in size and time.
"""

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as RequestsConnectionError

from backend.core.settings import get_settings

GOOGLE = ("fcm.googleapis.com", "oauth2.googleapis.com", "iamcredentials.googleapis.com")
PORTS = {"http": 80, "https": 443}
CALL_SECONDS = 60.0
"""For one call in all, from the first byte sent to the last one read."""

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
"""IPv4 addresses in the first way of writing them as IPv6; nobody has used it for decades."""

HttpError = httpx.HTTPError
Timeout = httpx.Timeout
Client = httpx.Client
Answer = httpx.Response

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Iterable[str]]


class OutboundRefused(httpx.TransportError):
    """This call may not be made. The text is a code: no address stands in it."""


class AnswerTooLarge(httpx.TransportError):
    """The answer is larger, or takes longer, than the caller allows."""


@dataclass(frozen=True, slots=True)
class Door:
    """A host that may be called: at this port only, if one is named, and at this address only, if one is pinned."""

    host: str
    port: int | None = None
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Door":
        """A door as the settings write it: an address with a scheme, `host`, `host:port`, or `host@address`."""
        name, _, address = text.strip().partition("@")
        parts = urlsplit(name if "://" in name else f"//{name}")
        port = parts.port or PORTS.get(parts.scheme)
        return cls(_canonical(parts.hostname or ""), port, str(ip_address(address)) if address else None)

    def leads_to(self, host: str, port: int) -> bool:
        """Whether a call to this host and port goes through here."""
        return self.host == host and self.port in {None, port}


def resolve(host: str, port: int) -> list[str]:
    """The addresses the system's resolver knows for a name."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_inside(address: Address) -> bool:
    """Whether an address is not one of the public internet, however it is written."""
    if isinstance(address, IPv6Address):
        embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _COMPATIBLE:
            return True
        if address in _NAT64:
            embedded.append(IPv4Address(int(address) & 0xFFFF_FFFF))
        if any(is_inside(inner) for inner in embedded if inner is not None):
            return True
        if address.ipv4_mapped is not None:
            return False
    return not address.is_global or address.is_multicast


class Gate:
    """Says to which address a call may go, and refuses all others."""

    def __init__(self, doors: Iterable[Door], *, resolver: Resolver = resolve) -> None:
        self._doors = tuple(doors)
        self._resolver = resolver

    def address(self, *, scheme: str, host: str, port: int | None) -> str:
        """The address for one call. `OutboundRefused` where there is none that it may go to."""
        host, port = _canonical(host), port or PORTS.get(scheme, 0)
        door = next((door for door in self._doors if door.leads_to(host, port)), None)
        if door is None:
            raise OutboundRefused("host_not_listed")
        named = door.address or _literal(host) or ("127.0.0.1" if host == "localhost" else None)
        if named is not None:
            if scheme != "https" and not is_inside(ip_address(named)):
                raise OutboundRefused("not_encrypted")
            return named
        if scheme != "https":
            raise OutboundRefused("not_encrypted")
        return self._resolved(host, port)

    def _resolved(self, host: str, port: int) -> str:
        try:
            found = list(self._resolver(host, port))
        except OSError:
            raise OutboundRefused("name_unknown") from None
        if not found:
            raise OutboundRefused("name_unknown")
        # One inward address among them is enough: nobody names such a set by accident.
        if any(is_inside(ip_address(address.partition("%")[0])) for address in found):
            raise OutboundRefused("address_inside")
        return found[0]


def configured_doors() -> list[Door]:
    """What the settings allow beside the host a client is made for."""
    return [Door.parse(text) for text in get_settings().outbound_hosts.split(",") if text.strip()]


def address_of(host: str, port: int, *, encrypted: bool, resolver: Resolver = resolve) -> str:
    """Where to connect to for a host that the settings name, by whatever protocol. `OutboundRefused`.

    `encrypted`: the name is checked against a certificate; without, only an address of this network that the settings
    name may be called. An address pinned in `OUTBOUND_HOSTS` goes before what the resolver says.
    """
    gate = Gate([*configured_doors(), Door(_canonical(host), port)], resolver=resolver)
    return gate.address(scheme="https" if encrypted else "plain", host=host, port=port)


def client(base_url: str, *, timeout: httpx.Timeout, max_bytes: int, resolver: Resolver = resolve) -> httpx.Client:
    """A client of one service. Whatever goes wrong on the way is an `HttpError`."""
    gate = Gate([Door.parse(base_url), *configured_doors()], resolver=resolver)
    return httpx.Client(
        base_url=base_url,
        timeout=timeout,
        transport=PinnedTransport(gate, max_bytes=max_bytes),
        follow_redirects=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity"},
    )


class PinnedTransport(httpx.BaseTransport):
    """Connects to the address the gate gives. One pool for each name, so that no connection is used for another."""

    def __init__(self, gate: Gate, *, max_bytes: int, verify: Any = True) -> None:
        self._gate = gate
        self._max_bytes = max_bytes
        self._verify = verify
        self._pools: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        address = self._gate.address(scheme=url.scheme, host=url.host, port=url.port)
        pool = self._pools.get(url.host)
        if pool is None:
            pool = self._pools[url.host] = httpx.HTTPTransport(verify=self._verify, trust_env=False, retries=0)
        ends = time.monotonic() + CALL_SECONDS
        answer = pool.handle_request(
            httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,  # `Host` among them, made from the name
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
        )
        if answer.headers.get("content-encoding", "identity") != "identity":
            answer.close()
            raise AnswerTooLarge("compressed")
        assert isinstance(answer.stream, httpx.SyncByteStream)
        answer.stream = _Bounded(answer.stream, max_bytes=self._max_bytes, ends=ends)
        return answer

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, *, max_bytes: int, ends: float) -> None:
        self._stream = stream
        self._left = max_bytes
        self._ends = ends

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0 or time.monotonic() > self._ends:
                raise AnswerTooLarge("too_large_or_slow")
            yield piece

    def close(self) -> None:
        self._stream.close()


class PinnedAdapter(HTTPAdapter):
    """The same for libraries that bring their own `requests` session: no retries, no redirects, pinned addresses."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(max_retries=0)
        self._gate = gate

    def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
        options["proxies"] = {}
        parts = urlsplit(request.url)
        request.headers["Host"] = parts.netloc.rpartition("@")[2]
        with _as_requests_error():
            answer = super().send(request, *arguments, **options)
            if answer.is_redirect:
                answer.close()
                raise OutboundRefused("redirect")
        return answer

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        name = host["host"].strip("[]")
        address = self._gate.address(scheme=host["scheme"], host=name, port=host["port"])
        if host["scheme"] == "https":
            pool = {**pool, "server_hostname": name, "assert_hostname": name}
        return {**host, "host": address}, pool


@contextmanager
def _as_requests_error() -> Iterator[None]:
    try:
        yield
    except OutboundRefused as refused:
        raise RequestsConnectionError(str(refused)) from None


def _canonical(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _literal(host: str) -> str | None:
    """The host, where it is an address in the one usual way of writing; octal and decimal ones are names of nothing."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def google_gate(*stand_ins: str, resolver: Resolver = resolve) -> Gate:
    """The gate of Firebase: Google's hosts, those of the settings, and the addresses of a local stand-in, if any."""
    doors = [*(Door(host, PORTS["https"]) for host in GOOGLE), *configured_doors()]
    return Gate([*doors, *map(Door.parse, stand_ins)], resolver=resolver)


def guard_session(session: Any, gate: Gate) -> None:
    """Let a `requests` session of somebody else's library call through the gate only."""
    session.trust_env = False
    session.max_redirects = 0
    session.adapters.clear()
    for prefix in ("http://", "https://"):
        session.mount(prefix, PinnedAdapter(gate))
