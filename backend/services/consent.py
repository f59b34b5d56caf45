"""What citizens are told about their data, and what they say to it: versions and an append-only record."""

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import ConsentAct
from backend.core.ids import new_id
from backend.models import Consent, PrivacyNotice
from backend.services import audit

ACTOR = "workflows.channels"


def to_be_told(session: Session, *, citizen_id: UUID) -> PrivacyNotice | None:
    """The version in force, where the citizen was not told it yet; from now on he counts as told.

    None where there is no notice, or he was told. Of two jobs at once one gets it.
    """
    notice = _in_force(session)
    if notice is None or not _append(session, citizen_id, notice.version, ConsentAct.TOLD):
        return None
    return notice


def say(session: Session, *, citizen_id: UUID, act: ConsentAct) -> None:
    """Note that a citizen agrees to the version in force, or withdraws. Nothing where there is no notice."""
    notice = _in_force(session)
    if notice is not None:
        _append(session, citizen_id, notice.version, act)


def is_withdrawn(session: Session, *, citizen_id: UUID) -> bool:
    """Whether the citizen's last word is that he withdraws. Being told is no word of his."""
    words = select(Consent.act).where(Consent.citizen_id == citizen_id, Consent.act != ConsentAct.TOLD)
    return session.exec(words.order_by(col(Consent.id).desc()).limit(1)).first() is ConsentAct.WITHDRAWN


def _in_force(session: Session) -> PrivacyNotice | None:
    published = select(PrivacyNotice).where(col(PrivacyNotice.published_at) <= now())
    return session.exec(published.order_by(col(PrivacyNotice.version).desc()).limit(1)).first()


def _append(session: Session, citizen_id: UUID, version: int, act: ConsentAct) -> bool:
    row = {"id": new_id(), "citizen_id": citizen_id, "version": version, "act": act, "at": now()}
    written = session.connection().execute(insert(Consent).values(**row).on_conflict_do_nothing())
    if not written.rowcount:
        return False
    audit.record(
        session,
        actor=ACTOR,
        action=f"consent_{act.value}",
        object_type="citizen",
        object_id=str(citizen_id),
        version=version,
    )
    return True
