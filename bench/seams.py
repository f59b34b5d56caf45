"""The same product with encryption, audit and authorisation switched off, for comparing speeds. Benchmarks only.

The product has no such switches and must not get any. What is replaced here is what each of the three costs, and
nothing beside it: personal values are encoded as before but not encrypted, subjects have no keys, search values are
indexed by a hash without a key, no audit rows are written, and a token is taken for what it was when it was first
seen. Row-level security is switched off in the database (`OwnStack.policies_off`).
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import msgspec
from fastapi import FastAPI
from sqlmodel import Session

from backend.core import crypto
from backend.services import audit, registry_sealing, sealing, sessions
from backend.services.permissions import permissions
from backend.services.sealing import Part, Subject
from backend.services.sessions import Caller


def _no_keys(_self: sealing.Vault, _subjects: Iterable[Subject]) -> None:
    """There are none to read or to make."""


def _encode(_self: sealing.Vault, parts: Sequence[Part], *, context: bytes) -> bytes | None:
    shares: sealing.Shares = {}
    for part in parts:
        shares.setdefault(part.subject, []).append((part.path, part.value))
    return _encode_shares(_self, shares, context=context)


def _encode_shares(_self: sealing.Vault, shares: sealing.Shares, *, context: bytes) -> bytes | None:
    if not shares:
        return None
    return msgspec.msgpack.encode([(subject, sealing.encoded(values)) for subject, values in shares.items()])


def _readable(_self: sealing.Vault, blob: sealing.Entries, _context: bytes) -> Iterator[tuple[Subject, bytes]]:
    yield from blob


def _plain_index(_self: crypto.KeyRing, _purpose: str, *values: str) -> bytes:
    return sha256("\x1f".join(values).encode()).digest()[: crypto.INDEX_BYTES]


def _plain_fingerprint(_self: crypto.KeyRing, content: bytes) -> bytes:
    return sha256(content).digest()


def _as_it_is(_self: crypto.KeyRing, text: bytes, *, context: bytes) -> bytes:
    return text


def _no_rows(_session: Session, **_: Any) -> None:
    """Nobody writes down what happened."""


def _all_held(_self: sealing.Vault, _subjects: Iterable[Subject]) -> bool:
    return True


def _none_erased(*_: Any) -> set[Subject]:
    """Without keys nobody can have been erased by the loss of one."""
    return set()


def _any_key(_self: sealing.Vault, subject: Subject) -> crypto.DataKey:
    """For the files of an import, which are no part of what is measured."""
    return crypto.key_ring().new_wrapped_key(subject=subject)[0]


def without_encryption() -> None:
    """Personal values are stored readable."""
    replaced = {"load": _no_keys, "provide": _no_keys, "seal": _encode, "holds": _all_held}
    replaced |= {
        "seal_shares": _encode_shares,
        "_opened": _readable,
        "ask": _no_keys,
        "erased": _none_erased,
        "key_of": _any_key,
    }
    for vault in (sealing.Vault, registry_sealing.BulkVault):
        for name, function in replaced.items():
            setattr(vault, name, function)
    replaced_ring = {
        "blind_index": _plain_index,
        "fingerprint": _plain_fingerprint,
        "seal_system": _as_it_is,
        "open_system": _as_it_is,
    }
    for name, ring_function in replaced_ring.items():
        setattr(crypto.KeyRing, name, ring_function)
    original = sealing.erased_among
    for module in list(sys.modules.values()):
        if getattr(module, "erased_among", None) is original:
            setattr(module, "erased_among", _none_erased)


def without_audit() -> None:
    """No entries are written."""
    setattr(audit, "record_many", _no_rows)


def without_authorisation() -> None:
    """A token is looked up once and believed ever after; the database is not told who asks."""
    from backend.api import deps

    known: dict[str, Caller] = {}

    def believed(session: Session, access_token: str) -> Caller:
        if access_token not in known:
            known[access_token] = sessions.identify(session, access_token)
        return known[access_token]

    def admitted(_session: Session, caller: Caller, operation: str) -> Caller:
        return replace(caller, reach=permissions()[operation].reach.get(caller.role, frozenset()))

    setattr(deps, "identify", believed)
    setattr(deps, "admit", admitted)


def without_trust() -> None:
    """All three, in this process."""
    without_encryption()
    without_audit()
    without_authorisation()


def __getattr__(name: str) -> FastAPI:
    """`uvicorn bench.seams:app` serves the product without the three."""
    if name != "app":
        raise AttributeError(name)
    from backend.main import create_app

    without_trust()
    return create_app()
