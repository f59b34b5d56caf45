"""Handhelds: a one-time code binds a device and its own key to a worker's account."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from sqlmodel import Session, col, select, update

from backend.core.clock import now
from backend.core.crypto import token_digest
from backend.core.enums import Role
from backend.core.errors import Malformed, NotFound, Unauthenticated
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Account, Device, EnrolmentCode
from backend.services import audit
from backend.services.sessions import Caller, Tokens, open_family

CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 12
WEB_KEY_MEMBERS = ("kty", "crv", "x", "y")


class CodeRefused(Unauthenticated):
    """The enrolment code is unknown, used or too old; which of them is not told."""

    code = "enrolment_refused"
    title_zh = "绑定码无效或已过期，请向主管重新申领"
    title_en = "The enrolment code is not valid; ask for a new one"


@dataclass(frozen=True, slots=True)
class NewCode:
    """A code to be typed into one device, once."""

    code: str
    expires_at: datetime


def issue_code(session: Session, *, caller: Caller, login: str) -> NewCode:
    """A one-time code for a worker's account inside the caller's territory; `NotFound` for any other."""
    account = session.exec(select(Account).where(Account.login == login, col(Account.active))).first()
    if account is None or account.role is not Role.GRID_WORKER:
        raise NotFound
    if not account.territory_code.startswith(caller.territory_code):
        raise NotFound
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
    """Use up a code and bind the device. `CodeRefused`, or `Malformed` where the key is no public P-256 JWK."""
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
    if claimed is None:
        raise CodeRefused
    device = Device(id=new_id(), account_id=claimed[0], name=name, public_key=key, enrolled_at=moment)
    session.add(device)
    session.flush()
    audit.record(
        session, actor=str(claimed[0]), action="device_enrolled", object_type="device", object_id=str(device.id)
    )
    return device, open_family(session, account_id=claimed[0], device_id=device.id)


def seen(
    session: Session, *, device_id: UUID, schema_version: int, waiting: int | None, client_time: datetime | None
) -> None:
    """Note that a device spoke: its schema version, its claimed backlog, and its clock against ours."""
    moment = now()
    values: dict[str, Any] = {"last_seen_at": moment, "schema_version": schema_version}
    if waiting is not None:
        values["waiting"] = waiting
    if client_time is not None:
        values["skew_ms"] = int((client_time - moment).total_seconds() * 1000)
    session.exec(update(Device).where(col(Device.id) == device_id).values(**values))


def _checked_key(public_key: dict[str, Any]) -> dict[str, Any]:
    key = {member: public_key.get(member) for member in WEB_KEY_MEMBERS}
    if key["kty"] != "EC" or key["crv"] != "P-256":
        raise Malformed("public_key: an ES256 key as JWK is required")
    try:
        jwt.PyJWK.from_dict(key, algorithm="ES256")
    except jwt.PyJWTError as error:
        raise Malformed("public_key: not a valid P-256 point") from error
    return key
