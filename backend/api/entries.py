"""The entry that a call is about, where it may be a record, a citizen's report or a declaration."""

from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import Depends

from backend.core.enums import SourceType
from backend.core.errors import Malformed


class Source(NamedTuple):
    """An entry by its id."""

    source_type: SourceType
    source_id: UUID


def one_of(document_id: UUID | None, report_id: UUID | None) -> Source | None:
    """Whichever of the two is named; None where both are, or neither."""
    if document_id is not None and report_id is None:
        return Source(SourceType.DOCUMENT, document_id)
    if report_id is not None and document_id is None:
        return Source(SourceType.REPORT, report_id)
    return None


async def named_source(
    document_id: UUID | None = None, report_id: UUID | None = None, declaration_id: UUID | None = None
) -> Source:
    """The one that the query names; `Malformed` for several or none. A coroutine, as it is not worth a thread."""
    source = one_of(document_id, report_id)
    if declaration_id is not None and document_id is None and report_id is None:
        return Source(SourceType.DECLARATION, declaration_id)
    if source is None or declaration_id is not None:
        raise Malformed("name one of document_id, report_id and declaration_id")
    return source


NamedSource = Annotated[Source, Depends(named_source)]
