"""What cases need to know of the entries behind them: class, severity, collector and place."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import tuple_
from sqlmodel import Session, col, select

from backend.core.enums import DeclarationState, SourceType
from backend.kinds.geodesy import SCALE
from backend.models import Declaration, Document, DocumentVersion, Report
from backend.services.records import cell_of
from backend.services.sealing import open_values
from workflows.routing.rules import URGENT


@dataclass(frozen=True, slots=True)
class Reference:
    """One version of one entry."""

    type: SourceType
    id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Entry:
    """The routable part of an entry. `point` is WGS-84 in degrees, where the entry has a place that is not personal.

    `collected_by` is the account of the handheld it came from; a report or a declaration has none.
    """

    class_code: str | None
    severity: str | None
    collected_by: UUID | None
    point: tuple[float, float] | None
    h3_cell: str | None

    @property
    def urgent(self) -> bool:
        """Whether its collector called it urgent."""
        return self.severity == URGENT


def load_entries(session: Session, references: Iterable[Reference]) -> dict[Reference, Entry]:
    """The entries of many references with one statement a source; unknown ones are left out."""
    wanted = set(references)
    return _documents(session, wanted) | _reports(session, wanted) | _declarations(session, wanted)


def is_in_force(session: Session, reference: Reference) -> bool:
    """Whether an entry still stands as it did in this version; a record may have been corrected or deleted since.

    The record is kept as it is until the transaction ends: a push that is about to change it is waited for, a later
    one waits. A citizen's report is not edited once it is submitted.
    """
    if reference.type is SourceType.REPORT:
        return True
    if reference.type is SourceType.DECLARATION:
        declared = select(Declaration.version, Declaration.state).where(Declaration.id == reference.id)
        return session.exec(declared.with_for_update(read=True)).first() == (
            reference.version,
            DeclarationState.IN_FORCE,
        )
    document = select(Document.version, Document.deleted).where(Document.id == reference.id)
    return session.exec(document.with_for_update(read=True)).first() == (reference.version, False)


def _documents(session: Session, wanted: Collection[Reference]) -> dict[Reference, Entry]:
    keys = [(reference.id, reference.version) for reference in wanted if reference.type is SourceType.DOCUMENT]
    if not keys:
        return {}
    rows = session.exec(
        select(DocumentVersion).where(tuple_(col(DocumentVersion.document_id), col(DocumentVersion.version)).in_(keys))
    )
    return {
        Reference(SourceType.DOCUMENT, row.document_id, row.version): Entry(
            class_code=_text(row.body.get("class_code")),
            severity=_text(row.body.get("severity")),
            collected_by=row.account_id,
            point=_point(row.body.get("location")),
            h3_cell=cell_of(row.body.get("location")),
        )
        for row in rows
    }


def _reports(session: Session, wanted: Collection[Reference]) -> dict[Reference, Entry]:
    """A report's exact place is sealed with its text; it is opened here to compare distances and goes no further."""
    references = {reference.id: reference for reference in wanted if reference.type is SourceType.REPORT}
    if not references:
        return {}
    rows = session.exec(select(Report).where(col(Report.id).in_(references))).all()
    opened = open_values(session, {row.id.bytes: row.sealed for row in rows})
    return {
        references[row.id]: Entry(
            class_code=_text(row.body.get("class_code")),
            severity=_text(row.body.get("severity")),
            collected_by=None,
            point=_point(_member(opened.get(row.id.bytes), "location")),
            h3_cell=row.h3_cell,
        )
        for row in rows
    }


def _declarations(session: Session, wanted: Collection[Reference]) -> dict[Reference, Entry]:
    """None of the declared kinds has a class, and where people live is compared with nobody."""
    references = [reference for reference in wanted if reference.type is SourceType.DECLARATION]
    if not references:
        return {}
    known = session.exec(
        select(Declaration.id).where(col(Declaration.id).in_([reference.id for reference in references]))
    ).all()
    nothing = Entry(class_code=None, severity=None, collected_by=None, point=None, h3_cell=None)
    return {reference: nothing for reference in references if reference.id in known}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _point(location: Any) -> tuple[float, float] | None:
    lat, lon = _member(location, "lat"), _member(location, "lon")
    return (lat / SCALE, lon / SCALE) if isinstance(lat, int) and isinstance(lon, int) else None
