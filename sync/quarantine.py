"""Quarantined rows as the desk sees them: those that name a grid of the caller's territory, and those that name none
and come from a worker posted there.

What a row holds is masked like everything else; whoever needs it in the clear says why, and leaves a trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, inspect
from sqlmodel import Session, col, or_, select

from backend.core.clock import now
from backend.core.enums import Kind, QuarantineCode, QuarantineState
from backend.core.errors import NotFound
from backend.kinds import KINDS
from backend.kinds import Document as Fields
from backend.kinds.forms import MAX_PLACES, faults
from backend.models import Document, Grid, Posting, Quarantine
from backend.services import unmasking
from backend.services.masking import HIDDEN, masked_fields
from backend.services.quarantined import SIDES, is_system, open_all
from backend.services.records import StoredRow, open_rows
from backend.services.scope import below, in_territory
from backend.services.sealing import Vault, subjects_in
from backend.services.sessions import Caller
from sync.conflicts import actor_of, allowed_step, step_view
from sync.facets import Facets, age_of, count_by
from sync.quarantine_schemas import QuarantinedDetail, QuarantinedLine, QuarantinedPage, UnmaskedRow
from sync.review_rules import QUARANTINE_EDGES, Standing, allowed
from sync.review_schemas import Counts, UnmaskAsked
from sync.review_steps import QUARANTINED, Past, past_steps
from sync.schemas import canonical_uuid

ENVELOPE = frozenset({"id", "op", "rev", "_deleted"})
UNMASKED = "row"
LARGEST_REV = 10**9


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows are asked for; without `states` those that wait. `grid` is a grid or any division's code."""

    kinds: Sequence[Kind] = ()
    codes: Sequence[QuarantineCode] = ()
    grid: str | None = None
    states: Sequence[QuarantineState] = ()
    worker: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """A quarantined row with what it holds: `content` is JSON, text where it is none, None where it was erased."""

    held: Quarantine
    content: Any
    whole: bool

    def standing(self, steps: Sequence[Past]) -> Standing:
        """What the rules look at."""
        return Standing(self.held.state, self.held.account_id, [step.action for step in steps])


def list_rows(session: Session, *, caller: Caller, filters: Filters, after: UUID | None, limit: int) -> QuarantinedPage:
    """A page of rows in the caller's territory, oldest first."""
    query = select(Quarantine).where(*_conditions(caller, filters))
    if after is not None:
        query = query.where(col(Quarantine.id) > after)
    rows = session.exec(query.order_by(col(Quarantine.id)).limit(limit + 1)).all()
    lines = [QuarantinedLine.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return QuarantinedPage(rows=lines, next=lines[-1].id if len(rows) > limit else None)


def count_rows(session: Session, *, caller: Caller, filters: Filters) -> Counts:
    """How many there are, in all and by facet."""
    facets: Facets = {
        "kind": ("kinds", col(Quarantine.kind)),
        "code": ("codes", col(Quarantine.code)),
        "state": ("states", col(Quarantine.state)),
        "grid": ("grid", func.coalesce(col(Quarantine.grid_id), "")),
        "worker": ("worker", col(Quarantine.account_id)),
        "age": ("since", age_of(col(Quarantine.created_at))),
    }
    source = inspect(Quarantine).local_table
    return count_by(session, source, facets, conditions=lambda name: _conditions(caller, filters, without=name))


def get_row(session: Session, *, caller: Caller, held_id: UUID) -> QuarantinedDetail:
    """One row with what a decision needs. `NotFound` outside the caller's territory."""
    entry = load(session, caller, [held_id])[held_id]
    steps = past_steps(session, QUARANTINED, [held_id], vault=Vault(session))[held_id]
    current = _current(session, caller, entry.held)
    return QuarantinedDetail(
        **QuarantinedLine.model_validate(entry.held, from_attributes=True).model_dump(),
        row=masked_row(entry.held.kind, entry.content),
        whole=entry.whole,
        current=masked_fields(*current[:2]) if current else None,
        version=current[2] if current else None,
        steps=[step_view(step, kind=entry.held.kind, place=None) for step in steps],
        actions=[allowed_step(edge) for edge in allowed(QUARANTINE_EDGES, entry.standing(steps), actor_of(caller))],
    )


def unmask_row(session: Session, *, caller: Caller, held_id: UUID, asked: UnmaskAsked) -> UnmaskedRow:
    """What a row holds in the clear, for a reason that is kept. `NotFound` as of `get_row`."""
    entry = load(session, caller, [held_id])[held_id]
    about = entry.held.document_id or entry.held.id
    unmasking_id = unmasking.note(
        session, caller, about, about.bytes, [UNMASKED], reason=asked.reason, words=asked.note
    )
    return UnmaskedRow(unmasking_id=unmasking_id, row=entry.content)


def load(
    session: Session, caller: Caller, held_ids: Sequence[UUID], *, for_update: bool = False
) -> dict[UUID, OpenedRow]:
    """Rows in the caller's territory with what they hold, by id. `NotFound` where one is missing."""
    query = select(Quarantine).where(col(Quarantine.id).in_(held_ids), in_reach(caller))
    if for_update:
        query = query.with_for_update()
    rows = session.exec(query).all()
    if len(rows) != len(set(held_ids)):
        raise NotFound
    opened = open_all(session, {row.id: row.payload for row in rows})
    vault = Vault(session)
    subjects = {row.id: set[bytes]() if is_system(row.payload) else subjects_in([row.payload]) for row in rows}
    vault.load(set().union(*subjects.values()))
    return {row.id: OpenedRow(row, opened[row.id], vault.holds(subjects[row.id])) for row in rows}


def in_reach(caller: Caller) -> ColumnElement[bool]:
    """Whether a row is the caller's to review: by the grid it names, or, naming none, by its author's posting."""
    moment = now()
    named = below(Quarantine.grid_id, caller)
    of_ours = select(Grid.id).where(col(Grid.id) == col(Quarantine.grid_id)).exists()
    supervised = (
        select(Posting.id)
        .where(
            Posting.account_id == Quarantine.account_id,
            below(Posting.territory_code, caller),
            col(Posting.starts_at) <= moment,
            or_(col(Posting.ends_at).is_(None), col(Posting.ends_at) > moment),
        )
        .exists()
    )
    return or_(named & of_ours, ~of_ours & supervised)


def masked_row(kind: Kind, content: Any) -> Fields | None:
    """A row as it was pushed, masked: both sides, each with its envelope. None where it is no row.

    A row may be here because its values are none: public fields are shown as they are only where they fit the form.
    """
    if not isinstance(content, dict) or not isinstance(content.get(SIDES[0]), dict):
        return None
    return {side: _masked_side(kind, content[side]) for side in SIDES if isinstance(content.get(side), dict)}


def _masked_side(kind: Kind, side: Mapping[str, Any]) -> Fields:
    spec = KINDS[kind]
    fields = {name: value for name, value in side.items() if name not in ENVELOPE}
    found = faults(spec, fields)
    wrong = {fault.partition(":")[0].partition(".")[0] for fault in found}
    hidden = spec.public if len(found) >= MAX_PLACES else spec.public & wrong
    shown = masked_fields(kind, {name: value for name, value in fields.items() if name not in hidden})
    envelope = {name: value if _is_lawful(name, value) else HIDDEN for name, value in side.items() if name in ENVELOPE}
    return envelope | shown | dict.fromkeys(hidden & fields.keys(), HIDDEN)


def _is_lawful(name: str, value: Any) -> bool:
    """Whether a key of the envelope has a value of its kind: anything else may say anything."""
    if name in ("id", "op"):
        return canonical_uuid(value) is not None
    return isinstance(value, bool) if name == "_deleted" else isinstance(value, int) and abs(value) < LARGEST_REV


def _current(session: Session, caller: Caller, held: Quarantine) -> tuple[Kind, Fields, int] | None:
    """The record of the row as it stands, where it lies in the caller's territory and is not deleted."""
    if held.document_id is None:
        return None
    query = select(Document).where(
        Document.id == held.document_id, in_territory(Document.grid_id, caller), col(Document.deleted).is_(False)
    )
    document = session.exec(query).first()
    if document is None:
        return None
    (fields,) = open_rows(session, [StoredRow(document.id, document.body, document.sealed)])
    return document.kind, fields, document.version


def _conditions(caller: Caller, filters: Filters, *, without: str = "") -> list[ColumnElement[bool]]:
    asked: dict[str, ColumnElement[bool] | None] = {
        "kinds": col(Quarantine.kind).in_(filters.kinds) if filters.kinds else None,
        "codes": col(Quarantine.code).in_(filters.codes) if filters.codes else None,
        "grid": col(Quarantine.grid_id).startswith(filters.grid, autoescape=True) if filters.grid else None,
        "states": col(Quarantine.state).in_(filters.states or [QuarantineState.OPEN]),
        "worker": col(Quarantine.account_id) == filters.worker if filters.worker else None,
        "since": col(Quarantine.created_at) >= filters.since if filters.since else None,
        "until": col(Quarantine.created_at) < filters.until if filters.until else None,
    }
    left_out = {"since", "until"} if without == "since" else {without}
    chosen = [condition for name, condition in asked.items() if condition is not None and name not in left_out]
    return [in_reach(caller), *chosen]
