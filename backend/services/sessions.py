"""Logins that last: short access tokens, and refresh tokens that rotate and belong to one device.

An access token is a JWT (HS256, at most ten minutes). A refresh token is `family.generation.mac`; the family's row
holds only the newest generation. Presenting the newest one moves the family on. Presenting the one before it means
that the answer was lost: the same successor is given again. Anything older was copied, and ends the family.
A handheld proves with its own ES256 key that it is the one refreshing, however late. Without a device there is no
such proof, and the repeat is taken for honest for a minute only: else a thief and the owner could take turns for ever.
"""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
from jwt.types import Options
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import Reach, Role
from backend.core.errors import Unauthenticated
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Account, Device, SessionFamily
from backend.services import audit
from backend.services.passwords import failed_logins, hash_password, password_matches, password_turn

AUDIENCE = "zhiwang"
OLDEST_GENERATION_KEPT = 1
REPEAT_WITHOUT_DEVICE = timedelta(seconds=60)

__all__ = ["Caller", "Tokens", "hash_password", "identify", "log_in", "open_family", "refresh", "token_key"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: an account in its one role, and the handheld it uses, if any.

    `reach` is how far the operation at hand goes for that role (`backend.services.permissions`).
    """

    account_id: UUID
    role: Role
    device_id: UUID | None
    territory_code: str
    department_code: str | None
    reach: frozenset[Reach] = frozenset()


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives. `expires_in` counts seconds of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int


class LoginRefused(Unauthenticated):
    """Wrong login or password; which of the two is not told."""

    code = "login_refused"
    title_zh = "账号或密码不正确"
    title_en = "Wrong login or password"


class TokenReused(Unauthenticated):
    """An old refresh token came back: somebody else holds a copy, so the whole login ends."""

    code = "token_reused"
    title_zh = "登录凭证被重复使用，为安全起见已退出，请重新登录（本机数据不受影响）"
    title_en = "The refresh token was used before; this login has ended, data on the device is untouched"


class ProofRequired(Unauthenticated):
    """The refresh did not come with a valid proof by the key of the device it belongs to."""

    code = "proof_required"
    title_zh = "设备校验失败，请使用原设备登录"
    title_en = "The device's proof is missing or wrong"


def log_in(session: Session, *, login: str, password: str, address: str) -> Tokens:
    """Start a session of an office account by password. `LoginRefused` otherwise, also for grid workers.

    `address` is where the call comes from; `TooManyRequests` where too many logins failed from there.
    """
    failed_logins.check(address, login)
    with password_turn():
        account = session.exec(select(Account).where(Account.login == login, col(Account.active))).first()
        right = password_matches(password, account.password_hash if account else None)
    if account is None or not right or account.role is Role.GRID_WORKER:
        failed_logins.note(address, login)
        raise LoginRefused
    audit.record(session, actor=str(account.id), action="login", object_type="account", object_id=str(account.id))
    return open_family(session, account_id=account.id, device_id=None)


def open_family(session: Session, *, account_id: UUID, device_id: UUID | None) -> Tokens:
    """Start a session of an account, on a device or without one."""
    moment = now()
    family = SessionFamily(
        id=new_id(),
        account_id=account_id,
        device_id=device_id,
        created_at=moment,
        expires_at=moment + timedelta(days=get_settings().refresh_token_days),
    )
    session.add(family)
    session.flush()
    return _tokens(family)


def refresh(session: Session, *, refresh_token: str, proof: str | None) -> Tokens:
    """The next pair of tokens. `Unauthenticated` and its kinds where the token does not stand."""
    family_id, generation = _parse_refresh(refresh_token)
    family = session.exec(select(SessionFamily).where(SessionFamily.id == family_id).with_for_update()).first()
    if family is None or family.revoked_at is not None or family.expires_at <= now():
        raise Unauthenticated
    if family.device_id is not None:
        _check_proof(session, family.device_id, refresh_token, proof)
    if generation < family.generation and not _is_honest_repeat(family, generation):
        _end_family(session, family)
        raise TokenReused
    if generation >= family.generation:
        family.generation, family.rotated_at = generation + 1, now()
        session.flush()
    return _tokens(family)


def _is_honest_repeat(family: SessionFamily, generation: int) -> bool:
    """Whether the answer to this refresh was lost. The proof of a device was checked before."""
    if generation < family.generation - OLDEST_GENERATION_KEPT:
        return False
    if family.device_id is not None:
        return True
    return family.rotated_at is not None and now() - family.rotated_at <= REPEAT_WITHOUT_DEVICE


def identify(session: Session, access_token: str) -> Caller:
    """Who holds this access token, as the account, the device and the session stand now."""
    try:
        claims = jwt.decode(access_token, token_key(), algorithms=["HS256"], audience=AUDIENCE)
        family_id = UUID(claims["sid"])
    except (jwt.PyJWTError, KeyError, ValueError) as error:
        raise Unauthenticated from error
    found = session.exec(
        select(SessionFamily, Account, Device)
        .join(Account, col(Account.id) == SessionFamily.account_id)
        .join(Device, col(Device.id) == SessionFamily.device_id, isouter=True)
        .where(SessionFamily.id == family_id)
    ).first()
    if found is None:
        raise Unauthenticated
    family, account, device = found
    if family.revoked_at is not None or not account.active or _is_revoked(device):
        raise Unauthenticated
    return Caller(account.id, account.role, family.device_id, account.territory_code, account.department_code)


def _is_revoked(device: Device | None) -> bool:
    return device is not None and device.revoked_at is not None


def token_key() -> bytes:
    """The key of access and refresh tokens."""
    return get_settings().token_secret.get_secret_value().encode()


def _end_family(session: Session, family: SessionFamily) -> None:
    """Committed here and now: the refusal that follows must not roll the revocation back."""
    family.revoked_at, family.revoked_reason = now(), "reused"
    audit.record(
        session,
        actor=str(family.account_id),
        action="session_ended",
        object_type="session",
        object_id=str(family.id),
        reason="reused",
    )
    session.commit()


def _tokens(family: SessionFamily) -> Tokens:
    seconds = get_settings().access_token_seconds
    moment = now()
    claims: dict[str, Any] = {
        "aud": AUDIENCE,
        "sub": str(family.account_id),
        "sid": str(family.id),
        "iat": moment,
        "exp": moment + timedelta(seconds=seconds),
    }
    access = jwt.encode(claims, token_key(), algorithm="HS256")
    return Tokens(access, _refresh_token(family.id, family.generation), seconds)


def _refresh_token(family_id: UUID, generation: int) -> str:
    body = f"{family_id.hex}.{generation}"
    mac = hmac.digest(token_key(), f"refresh.{body}".encode(), "sha256")
    return f"{body}.{urlsafe_b64encode(mac).decode().rstrip('=')}"


def _parse_refresh(token: str) -> tuple[UUID, int]:
    family, _, rest = token.partition(".")
    generation, _, _ = rest.partition(".")
    try:
        parsed = UUID(family), int(generation)
    except ValueError as error:
        raise Unauthenticated from error
    if not hmac.compare_digest(_refresh_token(*parsed).encode(), token.encode()):
        raise Unauthenticated
    return parsed


_PROOF_CHECKS: Options = {"require": ["rt"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}


def _check_proof(session: Session, device_id: UUID, refresh_token: str, proof: str | None) -> None:
    """The proof is a JWT signed by the device (ES256) that names the refresh token.

    Its times are not looked at: a handheld's clock may be years off, and the token it names is good for one step only.
    """
    device = session.get_one(Device, device_id)
    if device.revoked_at is not None or proof is None:
        raise ProofRequired
    try:
        key = jwt.PyJWK.from_dict(device.public_key, algorithm="ES256")
        claims = jwt.decode(proof, key, algorithms=["ES256"], options=_PROOF_CHECKS, audience=AUDIENCE)
    except jwt.PyJWTError as error:
        raise ProofRequired from error
    if not hmac.compare_digest(str(claims["rt"]).encode(), refresh_token.encode()):
        raise ProofRequired
