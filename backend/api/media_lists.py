"""Photos of an entry as a list, and for those who supervise with how far each bears the entry out."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from backend.api.deps import DbSession, allowed
from backend.core.enums import SourceType
from backend.services.sessions import Caller
from media import service
from media.errors import UploadHeaderInvalid
from media.schemas import AssessedPhotosView, PhotosView

router = APIRouter()

Lister = Annotated[Caller, Depends(allowed("media.list_photos"))]
Supervisor = Annotated[Caller, Depends(allowed("media.evidence"))]


@dataclass(frozen=True, slots=True)
class Source:
    """The entry a request names."""

    source_type: SourceType
    source_id: UUID


def named_source(
    document_id: Annotated[UUID | None, Query()] = None, report_id: Annotated[UUID | None, Query()] = None
) -> Source:
    """Either a record or a report."""
    if document_id is not None and report_id is None:
        return Source(SourceType.DOCUMENT, document_id)
    if report_id is not None and document_id is None:
        return Source(SourceType.REPORT, report_id)
    raise UploadHeaderInvalid("name either document_id or report_id")


NamedSource = Annotated[Source, Depends(named_source)]


@router.get("/photos", summary="Photos a record or a report names, with placeholders and the addresses of their copies")
def list_photos(session: DbSession, caller: Lister, source: NamedSource) -> PhotosView:
    return service.photos_of(session, caller, source_type=source.source_type, source_id=source.source_id)


@router.get("/evidence", summary="The same, and beside each photo a score with its reasons")
def list_evidence(session: DbSession, caller: Supervisor, source: NamedSource) -> AssessedPhotosView:
    return service.evidence_of(session, caller, source_type=source.source_type, source_id=source.source_id)
