"""Declarations of the matrix: one in each place, handed over by some channel, and the caller's own."""

from datetime import timedelta
from uuid import UUID

from sqlmodel import Session

from backend.core.clock import now
from backend.core.enums import Kind
from backend.core.ids import new_id
from backend.models import Declaration, DeclarationVersion
from backend.services.records import seal_rows
from tests.world import Json

SHOP: Json = {"uscc": "91440300708461136T", "name": "合成商店"}


def declaration(session: Session, account_id: UUID, grid_id: str | None = None) -> UUID:
    """One in force; it lies in the grid."""
    declaration_id, moment = new_id(), now()
    (row,) = seal_rows(session, [(Kind.ORGANISATION, declaration_id, SHOP)])
    declared_at = moment - timedelta(hours=1)
    content: Json = {"grid_id": grid_id, "body": row.body, "sealed": row.sealed, "version": 1}
    times: Json = {"declared_at": declared_at, "created_at": moment}
    ours: Json = {"kind": Kind.ORGANISATION, "account_id": account_id, "natural_key": SHOP["uscc"]}
    session.add(Declaration(id=declaration_id, **content, **times, **ours, updated_at=moment))
    session.flush()
    session.add(DeclarationVersion(declaration_id=declaration_id, **content, **times))
    session.flush()
    return declaration_id
