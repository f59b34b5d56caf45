"""What is wrong with a secret or an address for production: pure checks, which name a fault and never the value."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, unquote, urlsplit

SHORTEST_BYTES = 32
SHORTEST_SHARED = 16
"""For what an outside service gave, in its own length: WeChat's token and secret."""
FEWEST_DIFFERENT = {SHORTEST_BYTES: 12, SHORTEST_SHARED: 6}
"""Of 32 random bytes about 30 differ, of 16 random hexadecimal digits about 10: fewer than these come by no chance."""

_WORDS = re.compile(r"change.?me|example|password|secret|zhiwang|default|placeholder|insecure", re.IGNORECASE)
_WEAK_PASSWORDS = frozenset(
    ["", "admin", "changeme", "demo", "example", "password", "postgres", "root", "secret", "test", "zhiwang"]
)


def secret_faults(secrets: Mapping[str, str], *, shared: Mapping[str, str]) -> Iterator[str]:
    """Faults of our own secrets, which must all be there, and of `shared` ones, which may be empty."""
    for name, value in secrets.items():
        if not value:
            yield f"{name} is missing"
            continue
        for part in _parts(value):
            yield from _faults(name, part, shortest=SHORTEST_BYTES)
    for name, value in shared.items():
        if value:
            yield from _faults(name, value, shortest=SHORTEST_SHARED)
    yield from _equal({**secrets, **{name: value for name, value in shared.items() if value}})


def database_faults(urls: Mapping[str, str]) -> Iterator[str]:
    """Database addresses with a password that anybody would try. A local socket needs none."""
    for name, url in urls.items():
        parts = urlsplit(url)
        on_socket = not parts.hostname or any(host.startswith("/") for host in parse_qs(parts.query).get("host", []))
        password = unquote(parts.password or "")
        if not url or (on_socket and not password):
            continue
        if password.lower() in _WEAK_PASSWORDS or password == unquote(parts.username or ""):
            yield f"{name} has an empty, default or example password"


def _parts(value: str) -> list[str]:
    """The keys of a ring (`1:…,2:…`), or the one secret there is."""
    return [part.partition(":")[2] if ":" in part else part for part in value.split(",")]


def _faults(name: str, value: str, *, shortest: int) -> Iterator[str]:
    raw = _bytes(value) if shortest == SHORTEST_BYTES else value.encode()
    if len(raw) < shortest:
        yield f"{name} is shorter than {shortest} bytes (make one: openssl rand -base64 32)"
    elif len(set(raw)) < FEWEST_DIFFERENT[shortest] or _looks_typed(value, raw):
        yield f"{name} is an example or was typed by a person (make one: openssl rand -base64 32)"


def _looks_typed(value: str, raw: bytes) -> bool:
    phrase = raw != value.encode() and raw.isascii() and raw.decode().isprintable()
    return phrase or bool(_WORDS.search(value) or _WORDS.search(raw.decode("latin-1")))


def _bytes(value: str) -> bytes:
    """The bytes a Base64 text stands for; the text itself where it is none."""
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return value.encode()


def _equal(secrets: Mapping[str, str]) -> Iterator[str]:
    seen: dict[bytes, str] = {}
    for name, value in secrets.items():
        for part in filter(None, _parts(value)):
            other = seen.setdefault(_bytes(part), name)
            if other != name:
                yield f"{name} is the same as {other}"
