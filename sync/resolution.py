"""Deciding conflicts: a versioned write to the record, and taking it back.

A resolution names the version of the record that was read, like every change from a desk. What it makes is a version
like any other, with an `op` of its own, in history, ledger, feed and audit; where the chosen values are there already,
nothing is written but the decision.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from backend.core.enums import COLLECTED_KINDS, ConflictState, Role
from backend.core.errors import NotFound, PreconditionFailed
from backend.kinds import KINDS
from backend.kinds.forms import faults
from backend.models import Conflict, Document
from backend.services.records import StoredRow, nested_subject, open_rows, subject_of
from backend.services.scope import in_territory
from backend.services.sealing import Part, Vault
from backend.services.sessions import Caller
from sync import conflicts, ownership, review_steps, steward
from sync.conflicts import Opened
from sync.decided import write_decided
from sync.review_desk import Desk, open_desk, tried
from sync.review_errors import FieldChanged, FieldStewarded, RecordDeleted, RecordUnfit, ValueGone
from sync.review_rules import Action, Choice, same_value, split_place, value_at, with_value
from sync.review_schemas import (
    FieldDecision,
    Resolution,
    ResolutionOf,
    Resolved,
    ResolvedMany,
    ResolvedOrNot,
    StepAsked,
)
from sync.review_steps import CONFLICT, Past, Step
from sync.rules import ABSENT, DELETED, State, same_state


def resolve(session: Session, *, caller: Caller, document_id: UUID, version: int, asked: Resolution) -> Resolved:
    """Decide conflicts of one record, of which the caller has read `version`.

    `NotFound` where the record or a conflict of it is outside the caller's territory, `PreconditionFailed` where the
    record has moved on, and the refusals of this module and of `review_steps`. One refusal refuses all.
    """
    desk = open_desk(session, caller, [document_id])
    resolved = _resolve(desk, document_id, version, asked)
    desk.close()
    return resolved


def resolve_many(session: Session, *, caller: Caller, asked: Sequence[ResolutionOf]) -> ResolvedMany:
    """The same for many records, in the order asked; what stands against one of them is its own result."""
    desk = open_desk(session, caller, [entry.document_id for entry in asked])
    results = []
    for entry in asked:
        resolved, refusal = tried(desk, partial(_resolve, desk, entry.document_id, entry.version, entry))
        results.append(
            ResolvedOrNot(
                document_id=entry.document_id,
                resolved=resolved,
                code=refusal.code if refusal else None,
                refusal=refusal.extra if refusal else None,
            )
        )
    desk.close()
    return ResolvedMany(results=results)


def undo(session: Session, *, caller: Caller, conflict_id: UUID, version: int, asked: StepAsked) -> Resolved:
    """Take the last resolution of a conflict back: the field gets the value that it had before, as a new version.

    `FieldChanged` where it is no longer as the resolution left it; other refusals as of `resolve`.
    """
    document_id = _document_of(session, caller, conflict_id)
    desk = open_desk(session, caller, [document_id])
    resolved = _undo(desk, document_id, conflict_id, version, asked)
    desk.close()
    return resolved


def _resolve(desk: Desk, document_id: UUID, version: int, asked: Resolution) -> Resolved:
    vault = Vault(desk.session)
    ids = [decision.conflict_id for decision in asked.decisions]
    entries = _of_record(desk, document_id, ids, version, vault)
    steps = review_steps.past_steps(desk.session, CONFLICT, ids, vault=vault)
    edges = {
        entry.conflict.id: review_steps.lawful(
            CONFLICT, Action.RESOLVE, entry.standing(steps[entry.conflict.id]), desk.caller, reason=asked.reason
        )
        for entry in entries
    }
    chosen = {
        entry.conflict.id: _chosen(desk, entry, decision, vault)
        for entry, decision in zip(entries, asked.decisions, strict=True)
    }
    target = _target(desk, entries, chosen, vault)
    known = write_decided(desk, entries[0].document, target, owner=entries[0].conflict.account_id, vault=vault)
    assert known.master is not None
    ownership.claim(
        desk.session,
        document_id,
        _of_department(desk.caller, entries, asked.decisions),
        version=known.master.version,
        caller=desk.caller,
        at=desk.moment,
    )
    changed = known.master.version != version
    for entry, decision in zip(entries, asked.decisions, strict=True):
        edge, reason = edges[entry.conflict.id]
        step_id = review_steps.new_step_id()
        value = chosen[entry.conflict.id]
        shown = value_at(KINDS[entry.conflict.kind], known.master.state, entry.place) if value is KEPT else value
        desk.steps.append(
            Step(
                CONFLICT,
                entry.conflict.id,
                len(steps[entry.conflict.id]) + 1,
                edge,
                reason,
                entry.conflict.account_id,
                step_id,
                choice=decision.choice.value,
                version_before=version,
                version=known.master.version,
                op=known.master.op if changed else None,
                detail=_detail(entry, step_id, shown, asked.note, vault),
            )
        )
    return Resolved(
        document_id=document_id,
        version=known.master.version,
        op=known.master.op if changed else None,
        conflicts={entry.conflict.id: ConflictState.RESOLVED for entry in entries},
    )


class _Kept:
    """The choice to leave a field as it is, which is no value."""


KEPT = _Kept()


def _chosen(desk: Desk, entry: Opened, decision: FieldDecision, vault: Vault) -> Any:
    """The value a decision gives its field; `KEPT` to leave it, `ABSENT` to take it away."""
    choice = decision.choice
    if choice is Choice.KEEP:
        return KEPT
    if choice in (Choice.MINE, Choice.VALUE) and steward.owns(entry.conflict.kind, entry.place):
        _check_steward(desk.caller, entry)
    if choice is Choice.VALUE:
        return ABSENT if decision.remove else decision.value
    if choice is Choice.STEWARD:
        department = steward.value_of(desk.session, entry.document, entry.place, vault=vault)
        if department is None:
            raise ValueGone(conflict=str(entry.conflict.id))
        return department.value
    value = entry.value(choice.value)
    if value is ABSENT and not entry.whole:
        raise ValueGone(conflict=str(entry.conflict.id))
    _check_owner(desk.caller, entry, value)
    return value


def _of_department(caller: Caller, entries: Sequence[Opened], decisions: Sequence[FieldDecision]) -> dict[str, str]:
    """The stewarded fields that get their value by or from the department, with its dataset: they are its own now."""
    return {
        entry.place: KINDS[entry.conflict.kind].stewarded[entry.place]
        for entry, decision in zip(entries, decisions, strict=True)
        if steward.owns(entry.conflict.kind, entry.place)
        and decision.choice is not Choice.KEEP
        and (decision.choice is Choice.STEWARD or caller.role is Role.STEWARD)
    }


def _check_owner(caller: Caller, entry: Opened, value: Any) -> None:
    """What stands in a department's field is replaced by its steward only."""
    current = value_at(KINDS[entry.conflict.kind], entry.state, entry.place)
    if steward.owns(entry.conflict.kind, entry.place) and not same_value(current, value):
        _check_steward(caller, entry)


def _check_steward(caller: Caller, entry: Opened) -> None:
    if caller.role is not Role.STEWARD:
        raise FieldStewarded(conflict=str(entry.conflict.id))


def _target(desk: Desk, entries: Sequence[Opened], chosen: Mapping[UUID, Any], vault: Vault) -> State:
    """The record as decided. Whether it is deleted is decided first; then the fields of what is left are set."""
    record, spec = entries[0], KINDS[entries[0].conflict.kind]
    state, given = record.state, dict[str, Any]()
    decisions = [(entry.place, chosen[entry.conflict.id]) for entry in entries]
    for place, value in sorted(decisions, key=lambda decision: decision[0] != DELETED):
        if value is KEPT:
            continue
        if place in given and not same_value(given[place], value):
            raise RecordUnfit(places=["two values for one field"])
        given[place] = value
        if place == DELETED:
            state = _deleted_or_not(desk, record, state, value, vault)
        elif not state.deleted:
            state = with_value(spec, state, place, value)
        else:
            raise RecordDeleted
    return state


def _deleted_or_not(desk: Desk, record: Opened, state: State, value: Any, vault: Vault) -> State:
    if not isinstance(value, bool):
        raise RecordUnfit(places=[DELETED])
    if value is state.deleted:
        return state
    if value:
        return State({}, deleted=True)
    return _content_before(desk.session, record.document, None, vault)


def _content_before(session: Session, document: Document, version: int | None, vault: Vault) -> State:
    """A version from the history, or the last one that was no tombstone; `ValueGone` where it cannot be read whole."""
    row = session.connection().execute(_HISTORY, {"id": document.id, "version": version}).first()
    if row is None:
        raise ValueGone
    if row.deleted:
        return State({}, deleted=True)
    (fields,) = open_rows(session, [StoredRow(document.id, row.body, row.sealed)], vault=vault)
    if faults(KINDS[document.kind], fields):
        raise ValueGone
    return State(fields)


def _of_record(desk: Desk, document_id: UUID, ids: Sequence[UUID], version: int, vault: Vault) -> list[Opened]:
    """The conflicts of one record that is still as it was read; `NotFound`, `PreconditionFailed`."""
    entries = conflicts.load(desk.session, desk.caller, ids, vault=vault, for_update=True)
    if any(entry.document.id != document_id for entry in entries):
        raise NotFound
    if entries[0].document.version != version:
        raise PreconditionFailed(version=entries[0].document.version)
    return entries


def _detail(entry: Opened, step_id: UUID, value: Any, note: str | None, vault: Vault) -> bytes | None:
    """The chosen value and the note, each sealed for whom it is about."""
    spec = KINDS[entry.conflict.kind]
    own = subject_of(spec, entry.document.id, entry.state.fields)
    parts = [] if note is None else [Part(own, ("note",), note)]
    if value is not ABSENT:
        is_nested = split_place(spec, entry.place)[0] in spec.nested
        parts.append(Part(nested_subject(value, own) if is_nested else own, ("value",), value))
    return review_steps.sealed_detail(vault, step_id, parts)


def _undo(desk: Desk, document_id: UUID, conflict_id: UUID, version: int, asked: StepAsked) -> Resolved:
    vault = Vault(desk.session)
    (entry,) = _of_record(desk, document_id, [conflict_id], version, vault)
    steps = review_steps.past_steps(desk.session, CONFLICT, [conflict_id], vault=vault)[conflict_id]
    edge, reason = review_steps.lawful(CONFLICT, Action.UNDO, entry.standing(steps), desk.caller, reason=asked.reason)
    last = next(step for step in reversed(steps) if step.action is Action.RESOLVE)
    target = _restored(desk.session, entry, last, vault)
    if not target.deleted and not entry.state.deleted:
        _check_owner(desk.caller, entry, value_at(KINDS[entry.conflict.kind], target, entry.place))
    known = write_decided(desk, entry.document, target, owner=entry.conflict.account_id, vault=vault)
    assert known.master is not None
    step_id = review_steps.new_step_id()
    desk.steps.append(
        Step(
            CONFLICT,
            conflict_id,
            len(steps) + 1,
            edge,
            reason,
            entry.conflict.account_id,
            step_id,
            version_before=version,
            version=known.master.version,
            op=known.master.op if known.master.version != version else None,
            detail=_detail(entry, step_id, ABSENT, asked.note, vault),
        )
    )
    return Resolved(
        document_id=document_id,
        version=known.master.version,
        op=known.master.op if known.master.version != version else None,
        conflicts={conflict_id: ConflictState.OPEN},
    )


def _restored(session: Session, entry: Opened, last: Past, vault: Vault) -> State:
    """The record with the field as it was before a resolution; as it is where that resolution changed nothing."""
    if last.op is None:
        return entry.state
    spec = KINDS[entry.conflict.kind]
    before = _content_before(session, entry.document, last.version_before, vault)
    after = _content_before(session, entry.document, last.version, vault)
    old, left = (value_at(spec, state, entry.place) for state in (before, after))
    if same_value(old, left):
        return entry.state
    whole = entry.place == DELETED and not same_state(entry.state, after)
    if whole or not same_value(value_at(spec, entry.state, entry.place), left):
        raise FieldChanged(version=entry.document.version)
    if entry.place == DELETED:
        return before
    if entry.state.deleted:
        raise FieldChanged(version=entry.document.version)
    return with_value(spec, entry.state, entry.place, old)


def _document_of(session: Session, caller: Caller, conflict_id: UUID) -> UUID:
    query = (
        select(Document.id)
        .join(Conflict, col(Conflict.document_id) == Document.id)
        .where(
            Conflict.id == conflict_id,
            in_territory(Document.grid_id, caller),
            col(Document.kind).in_(COLLECTED_KINDS),
        )
    )
    found = session.exec(query).first()
    if found is None:
        raise NotFound
    return found


_HISTORY = text(
    """
    SELECT body, sealed, deleted FROM document_version
    WHERE document_id = :id AND CASE WHEN CAST(:version AS integer) IS NULL THEN NOT deleted ELSE version = :version END
    ORDER BY version DESC LIMIT 1
    """
)
