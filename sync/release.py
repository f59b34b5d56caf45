"""Deciding quarantined rows: taken as they were pushed, taken corrected, rejected, or looked at again.

A row that is taken goes through the same merge as a push, on behalf of its author, under a new `op`: the ledger keeps
what became of the pushed one. It may merge or conflict like any other. Its payload stays as it came, until retention.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from backend.core.enums import QuarantineState
from backend.core.ids import new_id
from backend.models import Document, Grid, Quarantine
from backend.services.quarantined import SIDES
from backend.services.scope import in_territory
from backend.services.sealing import Part, SubjectErased, Vault
from backend.services.sessions import Caller
from sync import projection, quarantine, review_steps, service
from sync.erased import erased_rows
from sync.known import Author, Entry
from sync.quarantine import OpenedRow
from sync.quarantine_schemas import Correction, Decided, DecidedMany, DecidedOrNot, RowDecision
from sync.review_desk import Desk, open_desk, tried
from sync.review_errors import RowNotTaken
from sync.review_rules import Action, Edge
from sync.review_schemas import StepAsked
from sync.review_steps import QUARANTINED, Step
from sync.schemas import Incoming, read_push

Change = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Lawful:
    """The step that a decision is, before it is known what becomes of the row."""

    edge: Edge
    reason: str
    number: int


def release(session: Session, *, caller: Caller, held_id: UUID, asked: StepAsked) -> Decided:
    """Take a row as it was pushed. `NotFound` outside the caller's territory, `RowNotTaken` where it still cannot go
    in, `SubjectErased` for a row about somebody erased, and the refusals of `review_steps`."""
    return _one(session, caller, held_id, partial(_take, action=Action.RELEASE, asked=asked, change=_as_it_came))


def correct(session: Session, *, caller: Caller, held_id: UUID, asked: Correction) -> Decided:
    """Take a row with some fields changed; errors as of `release`."""
    change = partial(_corrected, fields=asked.fields, remove=asked.remove)
    return _one(session, caller, held_id, partial(_take, action=Action.CORRECT, asked=asked, change=change))


def reject(session: Session, *, caller: Caller, held_id: UUID, asked: StepAsked) -> Decided:
    """Take a row not at all, for a reason that its author hears."""
    return _one(session, caller, held_id, partial(_step, action=Action.REJECT, asked=asked))


def reopen(session: Session, *, caller: Caller, held_id: UUID, asked: StepAsked) -> Decided:
    """Look at a rejected row again."""
    return _one(session, caller, held_id, partial(_step, action=Action.REOPEN, asked=asked))


def decide_many(session: Session, *, caller: Caller, asked: Sequence[RowDecision]) -> DecidedMany:
    """Decide many rows in the order given; what stands against one of them is its own result."""
    desk = _open(session, caller, [row.held for row in asked])
    results = []
    for row in asked:
        work: Callable[[Desk, OpenedRow], Decided] = (
            partial(_take, action=Action.RELEASE, asked=row, change=_as_it_came)
            if row.action is Action.RELEASE
            else partial(_step, action=row.action, asked=row)
        )
        decided, refusal = tried(desk, partial(_on, desk, row.held, work))
        results.append(
            DecidedOrNot(
                held=row.held,
                decided=decided,
                code=refusal.code if refusal else None,
                refusal=refusal.extra if refusal else None,
            )
        )
    desk.close()
    return DecidedMany(results=results)


def _one(session: Session, caller: Caller, held_id: UUID, work: Callable[[Desk, OpenedRow], Decided]) -> Decided:
    desk = _open(session, caller, [held_id])
    decided = _on(desk, held_id, work)
    desk.close()
    return decided


def _open(session: Session, caller: Caller, held_ids: Sequence[UUID]) -> Desk:
    """Lock the records that the rows are about; a row without a readable id may become a record of its own id."""
    query = select(Quarantine.id, Quarantine.document_id).where(
        col(Quarantine.id).in_(held_ids), quarantine.in_reach(caller)
    )
    documents = [document_id or held_id for held_id, document_id in session.exec(query)]
    return open_desk(session, caller, documents, rows=held_ids)


def _on(desk: Desk, held_id: UUID, work: Callable[[Desk, OpenedRow], Decided]) -> Decided:
    entry = quarantine.load(desk.session, desk.caller, [held_id], for_update=True)[held_id]
    return work(desk, entry)


def _lawful(desk: Desk, entry: OpenedRow, action: Action, asked: StepAsked) -> Lawful:
    held, vault = entry.held, Vault(desk.session)
    steps = review_steps.past_steps(desk.session, QUARANTINED, [held.id], vault=vault)[held.id]
    edge, reason = review_steps.lawful(QUARANTINED, action, entry.standing(steps), desk.caller, reason=asked.reason)
    return Lawful(edge, reason, len(steps) + 1)


def _step(desk: Desk, entry: OpenedRow, *, action: Action, asked: StepAsked) -> Decided:
    """A decision that changes no record."""
    return _noted(desk, entry, _lawful(desk, entry, action, asked), asked)


def _noted(
    desk: Desk,
    entry: OpenedRow,
    lawful: Lawful,
    asked: StepAsked,
    *,
    entered: Entry | None = None,
    before: int | None = None,
) -> Decided:
    """Note a decision, with what became of a row that went in."""
    held, vault = entry.held, Vault(desk.session)
    step_id = review_steps.new_step_id()
    about = held.document_id or held.id
    parts = [] if asked.note is None else [Part(about.bytes, ("note",), asked.note)]
    desk.steps.append(
        Step(
            QUARANTINED,
            held.id,
            lawful.number,
            lawful.edge,
            lawful.reason,
            held.account_id,
            step_id,
            choice=entered.outcome.value if entered else None,
            version_before=before,
            version=entered.version if entered else None,
            op=entered.op if entered else None,
            detail=review_steps.sealed_detail(vault, step_id, parts),
        )
    )
    return Decided(
        held=held.id,
        state=QuarantineState(lawful.edge.target.value),
        document_id=entered.document_id if entered else held.document_id,
        outcome=entered.outcome if entered else None,
        version=entered.version if entered else None,
    )


def _take(desk: Desk, entry: OpenedRow, *, action: Action, asked: StepAsked, change: Change) -> Decided:
    """Apply a row. The step is checked first, so that of a row decided already this is told, whatever is in it."""
    lawful, held = _lawful(desk, entry, action, asked), entry.held
    row = _read(desk, entry, change)
    before = desk.session.exec(select(Document.version).where(Document.id == row.id)).first()
    batch = service.push_reviewed(
        desk.session,
        kind=held.kind,
        row=row,
        author=Author(held.account_id, held.device_id),
        reviewer=desk.caller.account_id,
        version=held.schema_version or projection.CURRENT,
        **_grids(desk, row),
    )
    if batch.held:
        raise RowNotTaken(because=batch.held[0].code.value, places=[])
    desk.touches += batch.touches
    (entered,) = batch.ledger
    return _noted(desk, entry, lawful, asked, entered=entered, before=before)


def _read(desk: Desk, entry: OpenedRow, change: Change) -> Incoming:
    """The row as it is to be taken, under an `op` of its own; `RowNotTaken` where it still cannot be read or merged."""
    if not entry.whole:
        raise RowNotTaken(because="erased", places=[])
    held = entry.held
    content = entry.content
    if not isinstance(content, dict) or not isinstance(content.get(SIDES[0]), dict):
        raise RowNotTaken(because=held.code.value, places=[])
    current = projection.up(held.kind, content[SIDES[0]], held.schema_version or projection.CURRENT)
    pushed = change(current) | {"id": str(held.document_id or held.id), "op": str(new_id())}
    body = msgspec.json.encode({"rows": [{**content, SIDES[0]: pushed}]})
    (row,) = read_push(held.kind, body, max_rows=1)
    if not isinstance(row, Incoming):
        raise RowNotTaken(because=row.code.value, places=row.places)
    if erased_rows(desk.session, [row]):
        raise SubjectErased([row.id.bytes])
    return row


def _as_it_came(pushed: dict[str, Any]) -> dict[str, Any]:
    return dict(pushed)


def _corrected(pushed: Mapping[str, Any], *, fields: Mapping[str, Any], remove: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in {**pushed, **fields}.items() if name not in remove}


def _grids(desk: Desk, row: Incoming) -> dict[str, set[str]]:
    """Of the grids that the row names and that its record lies in: which exist, and which are the reviewer's."""
    named = set(desk.session.exec(select(Document.grid_id).where(Document.id == row.id)))
    if not row.state.deleted:
        named.add(row.state.fields["grid_id"])
    query = select(Grid.id).where(col(Grid.id).in_(named))
    real = set(desk.session.exec(query))
    return {"grids": set(desk.session.exec(query.where(in_territory(Grid.id, desk.caller)))), "real": real}
