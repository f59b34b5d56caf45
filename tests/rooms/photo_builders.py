"""Builders and fixtures of the tests of photos: workers, records that name photos, who sees what."""

from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import Kind, PhotoState, Role, SourceType
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.models import (
    Account,
    AuditEntry,
    Document,
    DocumentVersion,
    Membership,
    Photo,
)
from backend.services import feed
from backend.services.photos import link_photos
from backend.services.sessions import Caller
from media.service import photo_view
from tests.people import accounts_of, posting_of
from tests.rooms.media_samples import digest, jpeg


def grid_of(session: Session, account: Account) -> str:
    query = select(Membership.grid_id).where(Membership.account_id == account.id).order_by(col(Membership.grid_id))
    return session.exec(query).first() or ""


def office_of(session: Session, territory: str) -> Caller:
    account = accounts_of(session, Role.SUPERVISOR)[0]
    return caller_of(account, territory=territory)


def sees(session: Session, caller: Caller, photo_id: UUID, content: bytes | None = None) -> bool:
    """Whether the caller is shown this picture by this id, and not one of his own."""
    session.expire_all()
    try:
        return photo_view(session, caller, photo_id=photo_id).sha256 == digest(content or jpeg())
    except NotFound:
        return False


def caller_of(account: Account, *, role: Role | None = None, territory: str = "") -> Caller:
    return Caller(account.id, role or posting_of(account).role, None, territory, None)


def entry(photo_id: UUID, content: bytes) -> dict[str, object]:
    return {"photo_id": str(photo_id), "sha256": digest(content), "size": len(content), "mime": "image/jpeg"}


def add_record(
    session: Session, grid_id: str, *manifest: dict[str, object], deleted: bool = False, owner: Account | None = None
) -> UUID:
    """A first version of an event, as the sync room writes it for a push of the owner's."""
    moment = now()
    record = Document(
        id=new_id(),
        kind=Kind.EVENT,
        grid_id=grid_id,
        version=1,
        op=new_id(),
        deleted=deleted,
        body={"grid_id": grid_id, "photos": list(manifest)},
        account_id=owner.id if owner else None,
        created_at=moment,
        updated_at=moment,
    )
    session.add(record)
    session.flush()
    session.add(
        DocumentVersion(
            document_id=record.id,
            version=1,
            op=record.op,
            grid_id=grid_id,
            deleted=deleted,
            body=record.body,
            created_at=moment,
        )
    )
    session.flush()
    owner_id = owner.id if owner else None
    link_photos(session, source_type=SourceType.DOCUMENT, owner_id=owner_id, links=[(record.id, manifest)])
    feed.touch(session, [(grid_id, record.id, record.kind)])
    return record.id


def state_of(session: Session, photo_id: UUID) -> PhotoState | None:
    session.expire_all()
    photo = session.get(Photo, photo_id)
    return photo.state if photo else None


def audit_of(session: Session, object_id: UUID) -> list[tuple[str, str]]:
    rows = session.exec(select(AuditEntry).where(AuditEntry.object_id == str(object_id)).order_by(col(AuditEntry.id)))
    return [(row.action, row.actor) for row in rows]
