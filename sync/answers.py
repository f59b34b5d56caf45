"""The collector's answer to a resolution: he accepts it or contests it, once."""

from uuid import UUID

from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import ConflictState
from backend.core.errors import NotFound
from backend.models import Conflict
from backend.services import erased
from backend.services.sealing import Part, Vault
from backend.services.sessions import Caller
from sync import review_steps
from sync.review_desk import Desk
from sync.review_rules import Action, Standing
from sync.review_schemas import (
    Answered,
    Contested,
)
from sync.review_steps import CONFLICT, Step


def accept(session: Session, *, caller: Caller, conflict_id: UUID) -> Answered:
    """The collector agrees with a resolution. `NotFound` for a conflict of somebody else."""
    return _answer(session, caller, conflict_id, Action.ACCEPT, reason=None, note=None)


def contest(session: Session, *, caller: Caller, conflict_id: UUID, asked: Contested) -> Answered:
    """The collector does not agree: the desk decides again. Once only; errors as of `accept`."""
    return _answer(session, caller, conflict_id, Action.CONTEST, reason=asked.reason, note=asked.note)


def _answer(
    session: Session, caller: Caller, conflict_id: UUID, action: Action, *, reason: str | None, note: str | None
) -> Answered:
    erased.hold_off(session)
    query = select(Conflict).where(Conflict.id == conflict_id, Conflict.account_id == caller.account_id)
    conflict = session.exec(query.with_for_update()).first()
    if conflict is None:
        raise NotFound
    vault = Vault(session)
    steps = review_steps.past_steps(session, CONFLICT, [conflict_id], vault=vault)[conflict_id]
    standing = Standing(conflict.state, conflict.account_id, [step.action for step in steps])
    edge, why = review_steps.lawful(CONFLICT, action, standing, caller, reason=reason)
    step_id = review_steps.new_step_id()
    own = [] if note is None else [Part(conflict.document_id.bytes, ("note",), note)]
    desk = Desk(session, caller, now())
    desk.steps.append(
        Step(
            CONFLICT,
            conflict_id,
            len(steps) + 1,
            edge,
            why,
            caller.account_id,
            step_id,
            detail=review_steps.sealed_detail(vault, step_id, own),
        )
    )
    desk.close()
    return Answered(conflict=conflict_id, state=ConflictState(edge.target.value))
