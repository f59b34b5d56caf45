"""Soft references that lead nowhere, for those who keep the records in order: reported, never refused (rule 12)."""

from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text
from sqlmodel import Session

from backend.core.enums import Kind
from backend.services.records import LINKS
from backend.services.sessions import Caller

FIRST_ID = UUID(int=0)


class DanglingReference(BaseModel):
    """A record, and its field that names a record of another kind which is not there."""

    kind: Kind
    id: UUID
    grid_id: str
    version: int
    field: str
    target_kind: Kind


class DanglingPage(BaseModel):
    """References by the id of their record. `next` is the `after` of the next page, null after the last."""

    references: list[DanglingReference]
    next: UUID | None


def dangling(session: Session, *, caller: Caller, after: UUID | None, limit: int) -> DanglingPage:
    """References of records in the caller's territory whose target is not there, or was deleted, in any territory.

    Grids with houses that have no index yet are left out, so that none of them is taken for missing.
    """
    del caller  # The function asks the row policies' settings for his territory.
    given = {"kinds": [kind.value for kind in LINKS], "targets": [target.value for _, target in LINKS.values()]}
    rows = session.connection().execute(_DANGLING, {**given, "after": after or FIRST_ID, "limit": limit}).all()
    references = [
        DanglingReference(
            kind=Kind(row.kind),
            id=row.id,
            grid_id=row.grid_id,
            version=row.version,
            field=LINKS[Kind(row.kind)][0],
            target_kind=LINKS[Kind(row.kind)][1],
        )
        for row in rows
    ]
    return DanglingPage(references=references, next=references[-1].id if len(references) == limit else None)


_DANGLING = text(
    """
    SELECT id, kind, grid_id, version
    FROM zw_dangling(CAST(:kinds AS text[]), CAST(:targets AS text[]), CAST(:after AS uuid), :limit)
    """
)
