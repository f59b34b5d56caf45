"""Photos of an entry as a list, and for those who supervise with how far each bears the entry out."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from backend.api.deps import DbSession, allowed
from backend.api.entries import Source, one_of
from backend.services.sessions import Caller
from media import service
from media.errors import UploadHeaderInvalid
from media.schemas import AssessedPhotosView, PhotosView

router = APIRouter()

Lister = Annotated[Caller, Depends(allowed("media.list_photos"))]
Supervisor = Annotated[Caller, Depends(allowed("media.evidence"))]


async def named_source(document_id: UUID | None = None, report_id: UUID | None = None) -> Source:
    """As `entries.named_source`, with the code that this part of the API gives for a query of both or neither."""
    source = one_of(document_id, report_id)
    if source is None:
        raise UploadHeaderInvalid("name either document_id or report_id")
    return source


NamedSource = Annotated[Source, Depends(named_source)]


@router.get("/photos", summary="Photos a record or a report names, with placeholders and the addresses of their copies")
def list_photos(session: DbSession, caller: Lister, source: NamedSource) -> PhotosView:
    return service.photos_of(session, caller, source_type=source.source_type, source_id=source.source_id)


@router.get("/evidence", summary="The same, and beside each photo a score with its reasons")
def list_evidence(session: DbSession, caller: Supervisor, source: NamedSource) -> AssessedPhotosView:
    return service.evidence_of(session, caller, source_type=source.source_type, source_id=source.source_id)
