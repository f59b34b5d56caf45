"""The second factor of office accounts: TOTP (RFC 6238, SHA-1, six digits, 30 s, what every authenticator app does).

A secret counts once its owner has shown a first code. One time step before and after now is taken, for clocks that
differ; a step that was used, and all before it, are never taken again. The secret is at rest sealed under the account,
recovery codes as digests only.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlmodel import Session, col, delete, select, update

from backend.core.clock import now
from backend.core.errors import Unauthenticated, ZhiwangError
from backend.models import Account, RecoveryCode, SecondFactor
from backend.services import audit
from backend.services.passwords import CODE_ALPHABET
from backend.services.sealing import open_value, seal_value

ISSUER = "织网"
STEP_S = 30
DIGITS = 6
SKEW_STEPS = 1
SECRET_BYTES = 20
RECOVERY_CODES = 10
RECOVERY_LENGTH = 16


class TotpRequired(Unauthenticated):
    """The password is right, and a code of the authenticator app has to come with it."""

    code = "totp_required"
    title_zh = "请输入动态口令"
    title_en = "A code of the authenticator app is required"


class TotpRefused(Unauthenticated):
    """The code is wrong, too old, or was used; which of them is not told."""

    code = "totp_refused"
    title_zh = "动态口令不正确或已使用，请等待下一个口令"
    title_en = "The code is wrong or was used; wait for the next one"


class TotpNotStarted(ZhiwangError):
    """A first code came, and no secret waits for one."""

    code = "totp_not_started"
    status = 409
    title_zh = "请先申请绑定动态口令"
    title_en = "Ask for a secret first"


class CodeWrong(ZhiwangError):
    """Not a 401: the login stands, only the code does not."""

    code = "totp_code_wrong"
    status = 403
    title_zh = "动态口令不正确"
    title_en = "The code is wrong"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret to be scanned or typed into an authenticator app; it is shown this once."""

    secret: str
    uri: str


def is_on(session: Session, account_id: UUID) -> bool:
    """Whether logins of this account need a code."""
    factor = session.get(SecondFactor, account_id)
    return factor is not None and factor.confirmed_at is not None


def start(session: Session, *, account: Account, code: str | None) -> Enrolment:
    """A new secret. Where one counts already it goes on counting until the new one is confirmed, and `code` must be
    one of it or a recovery code: else who finds an open browser could change locks. `CodeWrong` otherwise."""
    if is_on(session, account.id) and not (code and accept(session, account_id=account.id, code=code)):
        raise CodeWrong
    secret = secrets.token_bytes(SECRET_BYTES)
    factor = session.get(SecondFactor, account.id) or SecondFactor(account_id=account.id)
    factor.pending = seal_value(session, account.id.bytes, secret.hex(), context=_context(account.id, "pending"))
    session.add(factor)
    uri = _totp(secret).get_provisioning_uri(account.login, ISSUER)
    audit.record(
        session, actor=str(account.id), action="totp_started", object_type="account", object_id=str(account.id)
    )
    return Enrolment(secret=_base32(uri), uri=uri)


def confirm(session: Session, *, account_id: UUID, code: str) -> list[str]:
    """Make the waiting secret count, after a first code of it. Gives the recovery codes, shown this once."""
    factor = session.exec(select(SecondFactor).where(SecondFactor.account_id == account_id).with_for_update()).first()
    secret = _open(session, factor.pending if factor else None, _context(account_id, "pending"))
    if factor is None or secret is None:
        raise TotpNotStarted
    step = matching_step(secret, code, at=now(), after=0)
    if step is None:
        raise CodeWrong
    factor.secret = seal_value(session, account_id.bytes, secret.hex(), context=_context(account_id, "secret"))
    factor.pending, factor.last_step, factor.confirmed_at = None, step, now()
    session.flush()
    audit.record(session, actor=str(account_id), action="totp_on", object_type="account", object_id=str(account_id))
    return _new_recovery_codes(session, account_id)


def reset(session: Session, *, actor: UUID, account_id: UUID) -> None:
    """Take the second factor off an account whose owner lost it."""
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.account_id) == account_id))
    session.exec(delete(SecondFactor).where(col(SecondFactor.account_id) == account_id))
    audit.record(session, actor=str(actor), action="totp_reset", object_type="account", object_id=str(account_id))


def accept(session: Session, *, account_id: UUID, code: str) -> bool:
    """Use up a code of the app, or a recovery code. The row is locked, so that of two equal codes one is taken."""
    factor = session.exec(select(SecondFactor).where(SecondFactor.account_id == account_id).with_for_update()).first()
    if factor is None or factor.confirmed_at is None:
        return False
    text = code.strip().replace(" ", "").replace("-", "")
    if len(text) != DIGITS:
        return _use_recovery_code(session, account_id, text)
    secret = _open(session, factor.secret, _context(account_id, "secret"))
    step = matching_step(secret, text, at=now(), after=factor.last_step) if secret else None
    if step is None:
        return False
    factor.last_step = step
    session.flush()
    return True


def matching_step(secret: bytes, code: str, *, at: datetime, after: int) -> int | None:
    """The time step this code belongs to, of those around `at` and later than `after`."""
    today = int(at.timestamp()) // STEP_S
    totp = _totp(secret)
    for step in range(max(today - SKEW_STEPS, after + 1), today + SKEW_STEPS + 1):
        if hmac.compare_digest(totp.generate(step * STEP_S), code.encode(errors="replace")):
            return step
    return None


def _use_recovery_code(session: Session, account_id: UUID, code: str) -> bool:
    used = session.exec(
        update(RecoveryCode)
        .where(col(RecoveryCode.digest) == _digest(account_id, code), col(RecoveryCode.used_at).is_(None))
        .values(used_at=now())
        .returning(col(RecoveryCode.account_id))
    ).first()
    if used is not None:
        audit.record(
            session,
            actor=str(account_id),
            action="recovery_code_used",
            object_type="account",
            object_id=str(account_id),
        )
    return used is not None


def _new_recovery_codes(session: Session, account_id: UUID) -> list[str]:
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.account_id) == account_id))
    codes = ["".join(secrets.choice(CODE_ALPHABET) for _ in range(RECOVERY_LENGTH)) for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(digest=_digest(account_id, code), account_id=account_id) for code in codes)
    session.flush()
    return ["-".join(code[start : start + 4] for start in range(0, RECOVERY_LENGTH, 4)) for code in codes]


def _digest(account_id: UUID, code: str) -> bytes:
    """The code has 79 bits of its own, so a plain hash is enough."""
    return sha256(account_id.bytes + code.upper().encode(errors="replace")).digest()


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, DIGITS, SHA1(), STEP_S)  # noqa: S303  what authenticator apps do; HMAC-SHA-1 is not broken


def _base32(uri: str) -> str:
    return uri.partition("secret=")[2].partition("&")[0]


def _open(session: Session, blob: bytes | None, context: bytes) -> bytes | None:
    value = open_value(session, blob, context=context)
    return None if value is None else bytes.fromhex(value)


def _context(account_id: UUID, column: str) -> bytes:
    return account_id.bytes + column.encode()
