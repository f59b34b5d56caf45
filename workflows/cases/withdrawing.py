"""What a declaration had led to ends when it is withdrawn: nobody looks into what nobody says any more."""

from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import DeclarationState, SourceType, TaskResult
from backend.models import Case, Declaration
from workflows.cases import considering, gone, settling, visits

REASON = "declaration_withdrawn"


def end_of_declaration(session: Session, *, declaration_id: UUID) -> None:
    """Close its open cases, end the look that was asked for it alone, and take its settlement out of force.

    The record of the grid is checked again by itself. Running twice changes nothing. `jobs.Discard` where the
    declaration is unknown or in force.
    """
    state = session.exec(select(Declaration.state).where(Declaration.id == declaration_id)).first()
    if state is not DeclarationState.WITHDRAWN:
        raise jobs.Discard("declaration_in_force")
    considering.lock_source(session, declaration_id)
    of_it = (Case.source_type == SourceType.DECLARATION, Case.source_id == declaration_id)
    query = select(Case).where(*of_it, col(Case.closed_at).is_(None)).order_by(col(Case.seq)).with_for_update()
    for case in session.exec(query).all():
        gone.close(session, case, reason=REASON, outcome=REASON)
    visits.end(session, SourceType.DECLARATION, declaration_id, TaskResult.WITHDRAWN)
    settling.supersede(session, [(SourceType.DECLARATION, declaration_id)], at=now())
