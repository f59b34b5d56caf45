"""Handhelds: a one-time code binds a device and its own key to a worker's account; lost ones are revoked and wiped.

A device is in a caller's reach when the standing posting of its account lies in his territory.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
from sqlalchemy import Select, func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select, update

from backend.core.clock import now
from backend.core.crypto import token_digest
from backend.core.enums import Reach, Role
from backend.core.errors import Malformed, NotFound, Unauthenticated
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.core.statements import execute
from backend.models import Account, Device, EnrolmentCode, Posting
from backend.services import audit, postings, sessions, tokens
from backend.services.passwords import CODE_ALPHABET
from backend.services.scope import below, is_below
from backend.services.sessions import Caller, Tokens, open_family

CODE_LENGTH = 12
WEB_KEY_MEMBERS = ("kty", "crv", "x", "y")


class CodeRefused(Unauthenticated):
    """The enrolment code is unknown, used or too old; which of them is not told."""

    code = "enrolment_refused"
    title_zh = "绑定码无效或已过期，请向主管重新申领"
    title_en = "The enrolment code is not valid; ask for a new one"


class DeviceState(StrEnum):
    """`wiping` was told to erase its store and has not said that it did; `wiped` has."""

    ACTIVE = "active"
    REVOKED = "revoked"
    WIPING = "wiping"
    WIPED = "wiped"


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A handheld and the login of its worker."""

    device: Device
    login: str
    state: DeviceState


@dataclass(frozen=True, slots=True)
class NewCode:
    """A code to be typed into one device, once."""

    code: str
    expires_at: datetime


def issue_code(session: Session, *, caller: Caller, login: str) -> NewCode:
    """A one-time code for a worker's account inside the caller's territory; `NotFound` for any other."""
    found = session.exec(
        select(Account, Posting)
        .join(Posting, postings.in_force(now(), account_id=col(Account.id)))
        .where(Account.login == login, col(Account.active), Posting.role == Role.GRID_WORKER)
    ).first()
    if found is None or not is_below(found[1].territory_code, caller):
        raise NotFound
    account = found[0]
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    expires_at = now() + timedelta(minutes=get_settings().enrolment_code_minutes)
    session.add(
        EnrolmentCode(
            digest=token_digest(code), account_id=account.id, created_by=caller.account_id, expires_at=expires_at
        )
    )
    audit.record(
        session,
        actor=str(caller.account_id),
        action="enrolment_code_issued",
        object_type="account",
        object_id=str(account.id),
    )
    return NewCode(code, expires_at)


def enrol(session: Session, *, code: str, name: str, public_key: dict[str, Any]) -> tuple[Device, Tokens]:
    """Use up a code and bind the device. `Malformed` where the key is no public P-256 JWK, else `CodeRefused`, also
    where the account was locked or became no worker's since the code was issued."""
    key = _checked_key(public_key)
    moment = now()
    claimed = session.exec(
        update(EnrolmentCode)
        .where(
            col(EnrolmentCode.digest) == token_digest(code.strip().upper()),
            col(EnrolmentCode.used_at).is_(None),
            col(EnrolmentCode.expires_at) > moment,
        )
        .values(used_at=moment)
        .returning(col(EnrolmentCode.account_id))
    ).first()
    if claimed is None or not _is_worker(session, claimed[0]):
        raise CodeRefused
    device = Device(id=new_id(), account_id=claimed[0], name=name, public_key=key, enrolled_at=moment)
    session.add(device)
    session.flush()
    audit.record(
        session, actor=str(claimed[0]), action="device_enrolled", object_type="device", object_id=str(device.id)
    )
    return device, open_family(session, account_id=claimed[0], device_id=device.id)


def listed(
    session: Session,
    *,
    caller: Caller,
    account_id: UUID | None = None,
    state: DeviceState | None = None,
    waiting: bool = False,
    silent_since: datetime | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[DeviceView]:
    """Handhelds in the caller's reach, newest first, from `before` on: those of an account, in a state, with changes
    that wait on them, or not heard of since a moment."""
    query = _in_reach(caller).order_by(col(Device.id).desc()).limit(limit)
    if account_id is not None:
        query = query.where(col(Device.account_id) == account_id)
    if state is not None:
        query = query.where(*_in_state(state))
    if waiting:
        query = query.where(col(Device.waiting) > 0)
    if silent_since is not None:
        query = query.where(func.coalesce(col(Device.last_seen_at), col(Device.enrolled_at)) < silent_since)
    if before is not None:
        query = query.where(col(Device.id) < before)
    return [DeviceView(device, login, state_of(device)) for device, login in session.execute(query)]


def found(session: Session, *, caller: Caller, device_id: UUID) -> Device:
    """A handheld in the caller's reach. `NotFound` for any other."""
    row = session.execute(_in_reach(caller).where(col(Device.id) == device_id)).first()
    if row is None:
        raise NotFound
    device: Device = row[0]
    return device


def revoke(session: Session, *, caller: Caller, device_id: UUID, wipe: bool) -> DeviceView:
    """End a handheld for good, and with `wipe` have it erase its local store the next time it calls. Safe to repeat.

    What it had not sent is lost with it: `waiting` says how much that was when it last called.
    """
    query = _in_reach(caller).where(col(Device.id) == device_id).with_for_update(of=Device)
    row = session.execute(query).first()
    if row is None:
        raise NotFound
    device, login = row
    moment = now()
    if device.revoked_at is None:
        device.revoked_at = moment
        _record(session, caller.account_id, "device_revoked", device)
    if wipe and device.wipe_requested_at is None:
        device.wipe_requested_at = moment
        _record(session, caller.account_id, "device_wipe_requested", device)
    session.flush()
    sessions.end_of_device(session, actor=caller.account_id, device_id=device.id, reason="device_revoked")
    return DeviceView(device, login, state_of(device))


def confirm_wipe(session: Session, *, device_id: UUID, proof: str) -> None:
    """Note that a device has erased its store. Only the device itself can say so (`wipe` of the proof is its id);
    `ProofRequired` tells no unknown device from a wrong proof or one that is not to be wiped. Safe to repeat."""
    device = session.exec(select(Device).where(Device.id == device_id).with_for_update()).first()
    known = device is not None and tokens.proves(proof, device.public_key, claim="wipe", value=str(device_id))
    if device is None or not known or device.wipe_requested_at is None:
        raise sessions.ProofRequired
    if device.wipe_confirmed_at is None:
        device.wipe_confirmed_at = now()
        _record(session, device.account_id, "device_wipe_confirmed", device)


def state_of(device: Device) -> DeviceState:
    """Where a device stands."""
    if device.wipe_requested_at is not None:
        return DeviceState.WIPED if device.wipe_confirmed_at else DeviceState.WIPING
    return DeviceState.REVOKED if device.revoked_at else DeviceState.ACTIVE


def seen(
    session: Session, *, device_id: UUID, schema_version: int, waiting: int | None, client_time: datetime | None
) -> None:
    """Note that a device spoke: its schema version, its claimed backlog, and its clock against ours."""
    moment = now()
    skew = int((client_time - moment).total_seconds() * 1000) if client_time is not None else None
    said = {"id": device_id, "now": moment, "schema": schema_version, "waiting": waiting, "skew": skew}
    execute(session, _SEEN, said)


def _in_reach(caller: Caller) -> Select[Any]:
    posting: Any = aliased(Posting, postings.standing())
    query: Select[Any] = (
        select(Device, col(Account.login))  # type: ignore[assignment]
        .join(Account, col(Account.id) == Device.account_id)
        .join(posting, posting.account_id == Account.id)
    )
    if Reach.ANY in caller.reach:
        return query
    return query.where(below(posting.territory_code, caller))


def _in_state(state: DeviceState) -> list[Any]:
    """Conditions that say the same as `state_of`."""
    asked, confirmed = col(Device.wipe_requested_at), col(Device.wipe_confirmed_at)
    return {
        DeviceState.WIPED: [asked.is_not(None), confirmed.is_not(None)],
        DeviceState.WIPING: [asked.is_not(None), confirmed.is_(None)],
        DeviceState.REVOKED: [asked.is_(None), col(Device.revoked_at).is_not(None)],
        DeviceState.ACTIVE: [asked.is_(None), col(Device.revoked_at).is_(None)],
    }[state]


def _is_worker(session: Session, account_id: UUID) -> bool:
    account, posting = session.get(Account, account_id), postings.current(session, account_id)
    return account is not None and account.active and posting is not None and posting.role is Role.GRID_WORKER


def _record(session: Session, actor: UUID, action: str, device: Device) -> None:
    audit.record(
        session,
        actor=str(actor),
        action=action,
        object_type="device",
        object_id=str(device.id),
        account=str(device.account_id),
    )


def _checked_key(public_key: dict[str, Any]) -> dict[str, Any]:
    key = {member: public_key.get(member) for member in WEB_KEY_MEMBERS}
    if key["kty"] != "EC" or key["crv"] != "P-256":
        raise Malformed("public_key: an ES256 key as JWK is required")
    try:
        jwt.PyJWK.from_dict(key, algorithm="ES256")
    except jwt.PyJWTError as error:
        raise Malformed("public_key: not a valid P-256 point") from error
    return key


_SEEN = """
    UPDATE device
    SET last_seen_at = %(now)s, schema_version = %(schema)s, waiting = coalesce(%(waiting)s::integer, waiting),
        skew_ms = coalesce(%(skew)s::bigint, skew_ms)
    WHERE id = %(id)s
"""
