"""Logins that last: short access tokens, and refresh tokens that rotate and belong to one device.

An access token is a JWT (HS256, at most ten minutes). A refresh token is `family.generation.mac`; the family's row
holds only the newest generation. Presenting the newest one moves the family on. Presenting the one before it means
that the answer was lost: the same successor is given again. Anything older was copied, and ends the family.
A handheld proves with its own ES256 key that it is the one refreshing, however late. Without a device there is no
such proof, and the repeat is taken for honest for a minute only: else a thief and the owner could take turns for ever.

Each request reads session, account, posting and device afresh, so that whatever was revoked is over at the next one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy
from sqlmodel import Session, col, select, update

from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Reach, Role
from backend.core.errors import NotFound, Unauthenticated, ZhiwangError
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Account, Device, Posting, SessionFamily
from backend.services import audit
from backend.services.passwords import hash_password, is_due
from backend.services.postings import in_force
from backend.services.tokens import (
    AUDIENCE,
    new_access_token,
    parse_refresh_token,
    proves,
    read_access_token,
    refresh_token,
    token_key,
)

OLDEST_GENERATION_KEPT = 1
REPEAT_WITHOUT_DEVICE = timedelta(seconds=60)
ENDED_CHANNEL = "zw_ended"
"""NOTIFY goes out on it, after the commit, where sessions were ended: open streams are looked through."""

__all__ = [
    "AUDIENCE",
    "Caller",
    "Pending",
    "Tokens",
    "end",
    "end_all",
    "hash_password",
    "hold_back",
    "identify",
    "listed",
    "open_family",
    "refresh",
    "token_key",
]


class Pending(StrEnum):
    """What a person has to do before a login is good for anything else."""

    PASSWORD = "password_change"
    TOTP = "totp_enrolment"


BEFORE_ALL_ELSE = {
    Pending.PASSWORD: frozenset({"auth.me", "auth.change_password", "auth.end_session"}),
    Pending.TOTP: frozenset({"auth.me", "auth.totp_enrol", "auth.totp_confirm", "auth.end_session"}),
}
"""Operations that a login with something pending is good for."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: an account in the role of its posting in force, and the handheld it uses, if any.

    `reach` is how far the operation at hand goes for that role (`backend.services.permissions`); `pending` is what
    has to be done first (`hold_back`).
    """

    account_id: UUID
    role: Role
    device_id: UUID | None
    territory_code: str
    department_code: str | None
    reach: frozenset[Reach] = frozenset()
    session_id: UUID | None = None
    pending: Pending | None = None
    token_ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives. `expires_in` counts seconds of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class SessionView:
    """One login of an account. `last_refreshed_at` is None until it was refreshed for the first time."""

    id: UUID
    device_id: UUID | None
    device_name: str | None
    created_at: datetime
    last_refreshed_at: datetime | None
    expires_at: datetime
    current: bool


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


class DeviceWiped(Unauthenticated):
    """The one 401 that tells a client to erase its local store. It ends when the client has confirmed."""

    code = "device_wiped"
    title_zh = "本设备已被远程注销，请立即清除本机数据"
    title_en = "This device was wiped remotely: erase its local data now"


class PasswordChangeRequired(ZhiwangError):
    """The password was given by somebody else, or is older than the policy allows."""

    code = "password_change_required"
    status = 403
    title_zh = "请先修改密码"
    title_en = "Change the password first"


class TotpEnrolmentRequired(ZhiwangError):
    code = "totp_enrolment_required"
    status = 403
    title_zh = "请先绑定动态口令"
    title_en = "Enrol an authenticator app first"


def open_family(session: Session, *, account_id: UUID, device_id: UUID | None) -> Tokens:
    """Start a session of an account, on a device or without one."""
    moment = now()
    family = SessionFamily(
        id=new_id(),
        account_id=account_id,
        device_id=device_id,
        created_at=moment,
        expires_at=moment + _life(device_id),
    )
    session.add(family)
    session.flush()
    return _tokens(family)


def refresh(session: Session, *, refresh_token: str, proof: str | None) -> Tokens:
    """The next pair of tokens. `Unauthenticated` and its kinds where the token does not stand."""
    family_id, generation = parse_refresh_token(refresh_token)
    family = session.exec(select(SessionFamily).where(SessionFamily.id == family_id).with_for_update()).first()
    if family is None:
        raise Unauthenticated
    if family.device_id is not None:
        _check_device(session.get_one(Device, family.device_id), refresh_token, proof)
    if family.revoked_at is not None or family.expires_at <= now() or not _stands(session, family):
        raise Unauthenticated
    if generation < family.generation and not _is_honest_repeat(family, generation):
        _end_reused(session, family)
        raise TokenReused
    if generation >= family.generation:
        _move_on(family, generation)
        session.flush()
    return _tokens(family)


def _move_on(family: SessionFamily, generation: int) -> None:
    """A handheld that comes back in time stays enrolled; an office login ends at its hour whatever it does."""
    moment = now()
    family.generation, family.rotated_at = generation + 1, moment
    if family.device_id is not None:
        family.expires_at = moment + _life(family.device_id)


def _life(device_id: UUID | None) -> timedelta:
    settings = get_settings()
    return timedelta(hours=settings.office_session_hours) if device_id is None else _device_life()


def _device_life() -> timedelta:
    return timedelta(days=get_settings().refresh_token_days)


def _stands(session: Session, family: SessionFamily) -> bool:
    """Whether the account is active and has a posting for this kind of login."""
    found = session.exec(
        select(Account, Posting)
        .join(Posting, in_force(now(), account_id=col(Account.id)))
        .where(Account.id == family.account_id, col(Account.active))
    ).first()
    return found is not None and _fits(found[1].role, family.device_id)


def _fits(role: Role, device_id: UUID | None) -> bool:
    """Grid workers work on handhelds, and nobody else does."""
    return (role is Role.GRID_WORKER) is (device_id is not None)


def _is_honest_repeat(family: SessionFamily, generation: int) -> bool:
    """Whether the answer to this refresh was lost. The proof of a device was checked before."""
    if generation < family.generation - OLDEST_GENERATION_KEPT:
        return False
    if family.device_id is not None:
        return True
    return family.rotated_at is not None and now() - family.rotated_at <= REPEAT_WITHOUT_DEVICE


def identify(session: Session, access_token: str) -> Caller:
    """Who holds this access token, as session, account, posting and device stand now."""
    claims, moment = read_access_token(access_token), now()
    given = {"family": claims.family_id, "account": claims.account_id, "at": moment}
    found = statements.rows(session, _IDENTIFY, given)
    if not found:
        raise Unauthenticated
    login = _Login(*found[0])
    if login.device_id is not None and login.wiping:
        raise DeviceWiped(device_id=str(login.device_id))
    if login.ended or login.expires_at <= moment or not login.active or login.role is None:
        raise Unauthenticated
    role = Role(login.role)
    if not _fits(role, login.device_id):
        raise Unauthenticated
    return Caller(
        claims.account_id,
        role,
        login.device_id,
        login.territory_code or "",
        login.department_code,
        session_id=claims.family_id,
        pending=pending(role, temporary=login.temporary, set_at=login.password_set_at, has_factor=login.has_factor),
        token_ends_at=claims.expires_at,
    )


class _Login(NamedTuple):
    """A row of `_IDENTIFY`. `ended`: the session or its device was revoked; `wiping`: the device is to erase itself."""

    device_id: UUID | None
    expires_at: datetime
    ended: bool
    wiping: bool
    active: bool
    temporary: bool
    password_set_at: datetime | None
    role: str | None
    territory_code: str | None
    department_code: str | None
    has_factor: bool


def pending(role: Role, *, temporary: bool, set_at: datetime | None, has_factor: bool) -> Pending | None:
    """What an account has to do first whose password was given by somebody else (`temporary`), or set at a moment.

    Grid workers have neither password nor second factor: they have a device.
    """
    if role is Role.GRID_WORKER:
        return None
    if temporary or is_due(set_at):
        return Pending.PASSWORD
    return None if has_factor or not get_settings().needs_totp() else Pending.TOTP


def hold_back(caller: Caller, operation: str) -> None:
    """`PasswordChangeRequired` or `TotpEnrolmentRequired` where that has to come before this operation."""
    if caller.pending is None or operation in BEFORE_ALL_ELSE[caller.pending]:
        return
    raise PasswordChangeRequired if caller.pending is Pending.PASSWORD else TotpEnrolmentRequired


def listed(session: Session, *, account_id: UUID, current: UUID | None = None) -> list[SessionView]:
    """The sessions of an account that have not ended, newest first."""
    rows = session.exec(
        select(SessionFamily, Device)
        .join(Device, col(Device.id) == SessionFamily.device_id, isouter=True)
        .where(
            SessionFamily.account_id == account_id,
            col(SessionFamily.revoked_at).is_(None),
            col(SessionFamily.expires_at) > now(),
        )
        .order_by(col(SessionFamily.created_at).desc())
    )
    return [
        SessionView(
            id=family.id,
            device_id=family.device_id,
            device_name=device.name if device else None,
            created_at=family.created_at,
            last_refreshed_at=family.rotated_at,
            expires_at=family.expires_at,
            current=family.id == current,
        )
        for family, device in rows
    ]


def end(session: Session, *, actor: UUID, account_id: UUID, session_id: UUID) -> None:
    """End one session of an account; `NotFound` for one of another account, or one that has ended."""
    if not _revoke(session, actor=actor, reason="ended", conditions=[*_of(account_id), SessionFamily.id == session_id]):
        raise NotFound


def end_all(
    session: Session, *, actor: UUID, account_id: UUID, reason: str = "ended", sparing: UUID | None = None
) -> int:
    """End all sessions of an account, perhaps but one; gives how many that were."""
    conditions = _of(account_id)
    if sparing is not None:
        conditions.append(SessionFamily.id != sparing)
    return _revoke(session, actor=actor, reason=reason, conditions=conditions)


def end_of_device(session: Session, *, actor: UUID, device_id: UUID, reason: str) -> int:
    """End all sessions of a handheld."""
    return _revoke(session, actor=actor, reason=reason, conditions=[SessionFamily.device_id == device_id])


def _of(account_id: UUID) -> list[Any]:
    return [SessionFamily.account_id == account_id]


def _revoke(session: Session, *, actor: UUID, reason: str, conditions: list[Any]) -> int:
    ended = session.exec(
        update(SessionFamily)
        .where(col(SessionFamily.revoked_at).is_(None), *conditions)
        .values(revoked_at=now(), revoked_reason=reason)
        .returning(col(SessionFamily.id))
    ).all()
    if ended:
        session.connection().execute(sqlalchemy.select(sqlalchemy.func.pg_notify(ENDED_CHANNEL, "")))
    entries: list[tuple[str, dict[str, Any]]] = [(str(row[0]), {"reason": reason}) for row in ended]
    audit.record_many(session, actor=str(actor), action="session_ended", object_type="session", entries=entries)
    return len(entries)


def _check_device(device: Device, refresh_token: str, proof: str | None) -> None:
    """The device proves itself first; only then it is told that it is to be wiped."""
    if not proves(proof, device.public_key, claim="rt", value=refresh_token):
        raise ProofRequired
    _check_wipe(device)
    if _is_revoked(device):
        raise ProofRequired


def _check_wipe(device: Device) -> None:
    if device.wipe_requested_at is not None and device.wipe_confirmed_at is None:
        raise DeviceWiped(device_id=str(device.id))


def _is_revoked(device: Device | None) -> bool:
    return device is not None and device.revoked_at is not None


def _end_reused(session: Session, family: SessionFamily) -> None:
    """Committed here and now: the refusal that follows must not roll the revocation back."""
    _revoke(session, actor=family.account_id, reason="reused", conditions=[SessionFamily.id == family.id])
    session.commit()


def _tokens(family: SessionFamily) -> Tokens:
    access = new_access_token(account_id=family.account_id, family_id=family.id)
    return Tokens(access, refresh_token(family.id, family.generation), get_settings().access_token_seconds)


_IDENTIFY = """
    SELECT f.device_id, f.expires_at, f.revoked_at IS NOT NULL OR d.revoked_at IS NOT NULL,
           d.wipe_requested_at IS NOT NULL AND d.wipe_confirmed_at IS NULL,
           a.active, a.password_temporary, a.password_set_at,
           CAST(p.role AS text), CAST(p.territory_code AS text), CAST(p.department_code AS text),
           s.confirmed_at IS NOT NULL
    FROM session_family f
    JOIN account a ON a.id = f.account_id
    LEFT JOIN posting p ON p.account_id = a.id AND p.starts_at <= %(at)s AND (p.ends_at IS NULL OR p.ends_at > %(at)s)
    LEFT JOIN device d ON d.id = f.device_id
    LEFT JOIN second_factor s ON s.account_id = a.id
    WHERE f.id = %(family)s AND f.account_id = %(account)s
"""
