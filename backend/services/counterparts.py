"""Records and declarations about the same human, house or organisation: the grid's word and the declarant's."""

from typing import NamedTuple
from uuid import UUID

from sqlmodel import Session

from backend.core import statements
from backend.core.enums import SourceType
from backend.core.ids import new_id
from backend.jobs import NewJob

JOB = "workflows.crosscheck.counterparts"


def job(source_type: SourceType, source_id: UUID, version: int, *, request_id: str | None = None) -> NewJob:
    """Asks for the counterparts of a version of an entry to be checked again, for a request where that is not the
    context's."""
    payload = {"source_type": source_type.value, "source_id": str(source_id), "source_version": version}
    return NewJob(JOB, f"{source_type}:{source_id}:{version}:{new_id()}", payload, request_id=request_id)


class Version(NamedTuple):
    """A record or a declaration, at the version in force."""

    id: UUID
    version: int


def records_about(session: Session, declaration_id: UUID) -> list[Version]:
    """Living records about the same as a declaration, whether it is in force or not, the latest first."""
    return [Version(*row) for row in statements.rows(session, _RECORDS, {"id": declaration_id})]


def declarations_about(session: Session, document_id: UUID) -> list[Version]:
    """Declarations in force about the same as a record, the latest first."""
    return [Version(*row) for row in statements.rows(session, _DECLARATIONS, {"id": document_id})]


_ABOUT_THE_SAME = """
    SELECT id, version FROM (
        SELECT d.id, d.version, d.{at} FROM {said} said
        JOIN {table} d ON d.id_index = said.id_index AND d.kind = said.kind AND {living}
        WHERE said.id = %(id)s
        UNION
        SELECT d.id, d.version, d.{at} FROM {said} said
        JOIN {table} d ON d.kind = said.kind AND d.natural_key = said.natural_key AND {living}
        WHERE said.id = %(id)s) AS found
    ORDER BY {at} DESC, id
"""
_RECORDS = _ABOUT_THE_SAME.format(said="declaration", table="document", living="NOT d.deleted", at="updated_at")
_DECLARATIONS = _ABOUT_THE_SAME.format(
    said="document", table="declaration", living="d.state = 'in_force'", at="declared_at"
)
