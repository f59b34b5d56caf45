"""Declarations of the matrix: one in each place, handed over by some channel, and the caller's own."""

from datetime import timedelta
from uuid import UUID

from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import CaseState, Kind, SourceType, VerdictKind
from backend.core.ids import new_id
from backend.models import Case, Declaration, DeclarationVersion, RegistrationStandard
from backend.services.records import seal_rows
from tests.matrix.people import DEPARTMENT
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


def sent_case(session: Session, declaration_id: UUID, verdict_id: UUID, grid_id: str) -> UUID:
    """A case about a declaration that was dispatched to the department of the scene."""
    standard = session.exec(select(RegistrationStandard)).first()
    assert standard is not None
    case = Case(
        id=new_id(),
        source_type=SourceType.DECLARATION,
        source_id=declaration_id,
        source_version=1,
        rule_version=1,
        verdict_id=verdict_id,
        reason=VerdictKind.NAME_DIFFERS.value,
        grid_id=grid_id,
        queue_code="12345-4403",
        standard_scheme=standard.scheme,
        standard_code=standard.code,
        state=CaseState.DISPATCHED,
        department_code=DEPARTMENT,
        deadline_at=now() + timedelta(days=1),
        opened_at=now(),
    )
    session.add(case)
    session.flush()
    return case.id
