"""Declarations (自主申报): the door of the city's portal, and what the offices see of it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from backend.api.deps import DbSession, allowed
from backend.api.records import not_kept
from backend.core.enums import DeclarationState
from backend.services import declarations
from backend.services.declaration_schemas import (
    DeclarationPage,
    DeclarationView,
    Declared,
    DeclaredKind,
    Withdrawn,
)
from backend.services.sessions import Caller

router = APIRouter(prefix="/declarations/v1", tags=["自主申报 declarations"], dependencies=[Depends(not_kept)])


@router.put("/declarations/{declaration_id}", summary="提交申报 · hand a declaration over")
def hand_over(
    declaration_id: UUID,
    body: Declared,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("declarations.hand_over"))],
) -> DeclarationView:
    """The same content again changes nothing; other content, declared later, is the next version.

    重复提交不会重复登记。
    """
    return declarations.hand_over(session, caller=caller, declaration_id=declaration_id, given=body)


@router.post("/declarations/{declaration_id}/withdraw", summary="撤回申报 · withdraw a declaration")
def withdraw(
    declaration_id: UUID,
    body: Withdrawn,
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("declarations.withdraw"))],
) -> DeclarationView:
    """It is not compared with anything any more, and never comes back; withdrawing again changes nothing."""
    return declarations.withdraw(session, caller=caller, declaration_id=declaration_id, reason=body.reason)


@router.get("/declarations/{declaration_id}", summary="申报及核对结果（脱敏）· one declaration and what became of it")
def read_declaration(
    declaration_id: UUID, session: DbSession, caller: Annotated[Caller, Depends(allowed("declarations.read"))]
) -> DeclarationView:
    """Personal values are masked, for the channel that handed them over as well."""
    return declarations.read(session, caller=caller, declaration_id=declaration_id)


@router.get("/declarations", summary="申报列表（脱敏）· declarations")
def list_declarations(
    session: DbSession,
    caller: Annotated[Caller, Depends(allowed("declarations.list"))],
    kind: DeclaredKind | None = None,
    state: DeclarationState | None = None,
    collected: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: UUID | None = None,
) -> DeclarationPage:
    """A channel sees its own, an office those of its territory; the newest id first.

    `collected=false` gives an office what was declared and is on no record of its grids (漏采).
    """
    return declarations.listed(
        session, caller=caller, kind=kind, state=state, collected=collected, limit=limit, before=before
    )
