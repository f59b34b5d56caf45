"""Conflicts as the desk sees them: those of records in the caller's territory, wherever they lay when they met.

Personal values are masked like everywhere else; whoever needs them in the clear says why, and leaves a trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, join
from sqlmodel import Session, col, select

from backend.core.enums import ConflictState, Hardness, Kind
from backend.core.errors import NotFound
from backend.kinds import KINDS
from backend.models import Conflict, Document, VerificationRequest
from backend.services import unmasking
from backend.services.masking import HIDDEN, masked_fields
from backend.services.records import StoredRow, context_of, open_rows, subject_of
from backend.services.scope import in_territory
from backend.services.sealing import Vault, subjects_in
from backend.services.sessions import Caller
from sync import steward
from sync.facets import Facets, age_of, count_by
from sync.review_rules import (
    CONFLICT_EDGES,
    REASONS,
    WAITING,
    Actor,
    Edge,
    Standing,
    allowed,
    split_place,
    value_at,
)
from sync.review_schemas import (
    AllowedStep,
    ConflictDetail,
    ConflictLine,
    ConflictPage,
    Counts,
    StepView,
    UnmaskAsked,
    UnmaskedValues,
)
from sync.review_steps import CONFLICT, Past, past_steps
from sync.rules import ABSENT, DELETED, State

SIDES = ("base", "mine", "theirs", "kept")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which conflicts are asked for; without `states` those that wait. `grid` is a grid or any division's code."""

    kinds: Sequence[Kind] = ()
    grid: str | None = None
    hardness: Hardness | None = None
    states: Sequence[ConflictState] = ()
    worker: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A conflict with its record as it stands. `place` is the field's true name, `sides` its values, as far as they
    open: `whole` is false where somebody whom they are about was erased."""

    conflict: Conflict
    document: Document
    state: State
    place: str
    sides: Mapping[str, Any]
    whole: bool

    def value(self, side: str) -> Any:
        """A side's value, `ABSENT` where there was none; look at `whole` first."""
        return self.sides.get(side, ABSENT)

    def standing(self, steps: Sequence[Past]) -> Standing:
        """What the rules look at."""
        return Standing(self.conflict.state, self.conflict.account_id, [step.action for step in steps])


def list_conflicts(
    session: Session, *, caller: Caller, filters: Filters, after: UUID | None, limit: int
) -> ConflictPage:
    """A page of conflicts in the caller's territory, oldest first."""
    query = _joined().where(*_conditions(caller, filters))
    if after is not None:
        query = query.where(col(Conflict.id) > after)
    rows = session.exec(query.order_by(col(Conflict.id)).limit(limit + 1)).all()
    opened = open_conflicts(session, rows[:limit], vault=Vault(session))
    lines = [ConflictLine(**_line(entry)) for entry in opened]
    return ConflictPage(conflicts=lines, next=lines[-1].id if len(rows) > limit else None)


def count_conflicts(session: Session, *, caller: Caller, filters: Filters) -> Counts:
    """How many there are, in all and by facet."""
    facets: Facets = {
        "kind": ("kinds", col(Conflict.kind)),
        "hardness": ("hardness", col(Conflict.hardness)),
        "state": ("states", col(Conflict.state)),
        "grid": ("grid", col(Document.grid_id)),
        "worker": ("worker", col(Conflict.account_id)),
        "age": ("since", age_of(col(Conflict.created_at))),
    }
    source = join(Conflict, Document, col(Document.id) == Conflict.document_id)
    return count_by(session, source, facets, conditions=lambda name: _conditions(caller, filters, without=name))


def get_conflict(session: Session, *, caller: Caller, conflict_id: UUID) -> ConflictDetail:
    """One conflict with what a decision needs. `NotFound` outside the caller's territory."""
    vault = Vault(session)
    (entry,) = load(session, caller, [conflict_id], vault=vault)
    steps = past_steps(session, CONFLICT, [conflict_id], vault=vault)[conflict_id]
    kind = entry.conflict.kind
    department = steward.value_of(session, entry.document, entry.place, vault=vault)
    shown = masked_value(kind, entry.place, department.value) if department else None
    return ConflictDetail(
        **_line(entry),
        stewarded=split_place(KINDS[kind], entry.place)[0] in KINDS[kind].stewarded,
        steward=department.shown_as(shown) if department else None,
        steps=[step_view(step, kind=kind, place=entry.place) for step in steps],
        actions=[allowed_step(edge) for edge in allowed(CONFLICT_EDGES, entry.standing(steps), actor_of(caller))],
    )


def unmask_conflict(session: Session, *, caller: Caller, conflict_id: UUID, asked: UnmaskAsked) -> UnmaskedValues:
    """The values of a conflict in the clear, for a reason that is kept. `NotFound` as of `get_conflict`."""
    (entry,) = load(session, caller, [conflict_id], vault=Vault(session))
    unmasking_id = unmasking.note(
        session,
        caller,
        entry.document.id,
        subject_of(KINDS[entry.conflict.kind], entry.document.id, entry.state.fields),
        [split_place(KINDS[entry.conflict.kind], entry.conflict.field)[0]],
        reason=asked.reason,
        words=asked.note,
    )
    return UnmaskedValues(unmasking_id=unmasking_id, field=entry.conflict.field, values=_values(entry))


def load(
    session: Session, caller: Caller, conflict_ids: Sequence[UUID], *, vault: Vault, for_update: bool = False
) -> list[Opened]:
    """Conflicts of records in the caller's territory, in the order asked. `NotFound` where one is missing."""
    query = _joined().where(col(Conflict.id).in_(conflict_ids), in_territory(Document.grid_id, caller))
    if for_update:
        query = query.with_for_update(of=Conflict)
    rows = {conflict.id: (conflict, document) for conflict, document in session.exec(query)}
    if len(rows) != len(set(conflict_ids)):
        raise NotFound
    return open_conflicts(session, [rows[conflict_id] for conflict_id in conflict_ids], vault=vault)


def open_conflicts(session: Session, rows: Sequence[tuple[Conflict, Document]], *, vault: Vault) -> list[Opened]:
    """Open the sides and the records of many conflicts, with one read of keys."""
    documents = {document.id: document for _, document in rows}
    vault.load(subjects_in(conflict.sides for conflict, _ in rows))
    stored = [StoredRow(document.id, document.body, document.sealed) for document in documents.values()]
    contents = dict(zip(documents, open_rows(session, stored, vault=vault), strict=True))
    return [_opened(conflict, document, contents[document.id], vault) for conflict, document in rows]


def masked_value(kind: Kind, place: str, value: Any) -> Any:
    """A value of a conflict's field as the offices see it; `HIDDEN` for a field that the kind does not declare."""
    if place == DELETED or value is None:
        return value
    name, member = split_place(KINDS[kind], place)
    if name not in KINDS[kind].model.model_fields:
        return HIDDEN
    if member is None:
        return masked_fields(kind, {name: value})[name]
    shown = masked_fields(kind, {name: [value]})[name]
    return shown[0] if isinstance(shown, list) else shown


def step_view(step: Past, *, kind: Kind, place: str | None) -> StepView:
    """A step as the desk sees it, its value masked."""
    value = step.detail.get("value")
    return StepView(
        **{name.name: getattr(step, name.name) for name in fields(Past) if name.name in StepView.model_fields},
        reason_zh=REASONS.get(step.reason, step.reason),
        value=masked_value(kind, place, value) if place is not None else None,
        note=step.detail.get("note"),
    )


def allowed_step(edge: Edge) -> AllowedStep:
    """An edge as it is offered."""
    return AllowedStep(
        action=edge.action, to_state=edge.target.value, reasons={code: REASONS[code] for code in edge.reasons}
    )


def actor_of(caller: Caller) -> Actor:
    """The caller as the rules see him."""
    return Actor(caller.account_id, caller.role)


def _joined() -> Any:
    return select(Conflict, Document).join(Document, col(Document.id) == Conflict.document_id)


def _conditions(caller: Caller, filters: Filters, *, without: str = "") -> list[ColumnElement[bool]]:
    """The territory and the filters; `without` one of them, for the counts of its facet."""
    waiting = [state for state in ConflictState if state in WAITING]
    asked: dict[str, ColumnElement[bool] | None] = {
        "kinds": col(Conflict.kind).in_(filters.kinds) if filters.kinds else None,
        "grid": col(Document.grid_id).startswith(filters.grid, autoescape=True) if filters.grid else None,
        "hardness": col(Conflict.hardness) == filters.hardness if filters.hardness else None,
        "states": col(Conflict.state).in_(filters.states or waiting),
        "worker": col(Conflict.account_id) == filters.worker if filters.worker else None,
        "since": col(Conflict.created_at) >= filters.since if filters.since else None,
        "until": col(Conflict.created_at) < filters.until if filters.until else None,
    }
    left_out = {"since", "until"} if without == "since" else {without}
    chosen = [condition for name, condition in asked.items() if condition is not None and name not in left_out]
    return [in_territory(Document.grid_id, caller), *chosen]


def _opened(conflict: Conflict, document: Document, content: dict[str, Any], vault: Vault) -> Opened:
    parts = {str(part.path[0]): part.value for part in vault.open(conflict.sides, context=context_of(document.id))}
    return Opened(
        conflict,
        document,
        State({} if document.deleted else content, document.deleted),
        str(parts.get("field", conflict.field)),
        {side: parts[side] for side in SIDES if side in parts},
        vault.holds(subjects_in([conflict.sides])),
    )


def with_current(sides: Mapping[str, Any], *, kind: Kind, state: State, place: str) -> dict[str, Any]:
    """The sides, and what stands at the place now."""
    current = value_at(KINDS[kind], state, place)
    return {**sides, **({} if current is ABSENT else {"now": current})}


def line_of(
    row: Conflict | VerificationRequest,
    document: Document,
    *,
    form: type[BaseModel],
    place: str,
    values: Mapping[str, Any],
    whole: bool,
) -> dict[str, Any]:
    """What a list shows of a row about one field of a record: the row's own columns, where the record lies now, and
    the values, masked. `form` says which columns."""
    return {
        **row.model_dump(include=set(form.model_fields) & set(type(row).model_fields)),
        "grid_id": document.grid_id,
        "version": document.version,
        "deleted": document.deleted,
        "values": {side: masked_value(row.kind, place, value) for side, value in values.items()},
        "whole": whole,
    }


def _values(entry: Opened) -> dict[str, Any]:
    return with_current(entry.sides, kind=entry.conflict.kind, state=entry.state, place=entry.place)


def _line(entry: Opened) -> dict[str, Any]:
    return line_of(
        entry.conflict,
        entry.document,
        form=ConflictLine,
        place=entry.place,
        values=_values(entry),
        whole=entry.whole,
    )
