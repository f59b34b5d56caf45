"""Tokens as strings: short access tokens, derived refresh tokens, and the proofs a handheld signs.

An access token is a JWT (RFC 9068 in its claims) signed with HS256 and nothing else. Its header holds `alg` and `typ`
only: a token that brings a key id, a key, or something critical of its own is refused, whatever its signature.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from jwt.types import Options

from backend.core.clock import now
from backend.core.errors import Unauthenticated
from backend.core.settings import get_settings

AUDIENCE = "zhiwang"
ISSUER = "zhiwang"
ALGORITHM = "HS256"
ACCESS_TYPE = "at+jwt"
ACCESS_HEADER = {"alg": ALGORITHM, "typ": ACCESS_TYPE}
ACCESS_USE = "access"
ACCESS_CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "token_use"]

UNREADABLE = (jwt.PyJWTError, ValueError, TypeError)
"""What reading a hostile token or its claims may raise. For nesting too deep, PyJWT has an error of its own."""

_ACCESS_CHECKS: Options = {"require": ACCESS_CLAIMS}
_PROOF_CHECKS: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """Whom a valid access token names, and until when."""

    account_id: UUID
    family_id: UUID
    expires_at: datetime


def token_key() -> bytes:
    """The key of access and refresh tokens."""
    return get_settings().token_secret.get_secret_value().encode()


def new_access_token(*, account_id: UUID, family_id: UUID) -> str:
    """An access token that stands for `access_token_seconds`."""
    moment = now()
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(account_id),
        "sid": str(family_id),
        "jti": uuid4().hex,
        "token_use": ACCESS_USE,
        "iat": moment,
        "exp": moment + timedelta(seconds=get_settings().access_token_seconds),
    }
    return jwt.encode(claims, token_key(), algorithm=ALGORITHM, headers={"typ": ACCESS_TYPE})


def read_access_token(token: str) -> AccessClaims:
    """The claims of a token of ours that has not run out; `Unauthenticated` for any other."""
    try:
        if jwt.get_unverified_header(token) != ACCESS_HEADER:
            raise Unauthenticated
        claims = jwt.decode(
            token, token_key(), algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_ACCESS_CHECKS
        )
        if claims["token_use"] != ACCESS_USE or claims["aud"] != AUDIENCE:
            raise Unauthenticated
        return AccessClaims(UUID(claims["sub"]), UUID(claims["sid"]), datetime.fromtimestamp(claims["exp"], tz=UTC))
    except (*UNREADABLE, AttributeError, OverflowError, OSError) as error:
        raise Unauthenticated from error


def refresh_token(family_id: UUID, generation: int) -> str:
    """`family.generation.mac`: derived, so that a lost answer can be given again and none is stored."""
    body = f"{family_id.hex}.{generation}"
    return f"{body}.{mac('refresh', body)}"


def parse_refresh_token(token: str) -> tuple[UUID, int]:
    """Family and generation of a refresh token of ours; `Unauthenticated` for any other."""
    family, _, rest = token.partition(".")
    generation, _, _ = rest.partition(".")
    try:
        parsed = UUID(family), int(generation)
    except ValueError as error:
        raise Unauthenticated from error
    if not hmac.compare_digest(refresh_token(*parsed).encode(), token.encode(errors="replace")):
        raise Unauthenticated
    return parsed


def proves(proof: str | None, public_key: Mapping[str, Any], *, claim: str, value: str) -> bool:
    """Whether a JWT signed by a device (ES256) says that `claim` is `value`.

    Its times are not looked at: a handheld's clock may be years off, and what it names is good for one step only.
    """
    if proof is None:
        return False
    try:
        key = jwt.PyJWK.from_dict(dict(public_key), algorithm="ES256")
        options: Options = {**_PROOF_CHECKS, "require": [claim]}
        claims = jwt.decode(proof, key, algorithms=["ES256"], options=options, audience=AUDIENCE)
    except UNREADABLE:
        return False
    return hmac.compare_digest(str(claims[claim]).encode(errors="replace"), value.encode())


def mac(purpose: str, body: str) -> str:
    """An authenticator of text that we give out and want back unchanged, for one purpose."""
    digest = hmac.digest(token_key(), f"{purpose}.{body}".encode(errors="replace"), "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")
