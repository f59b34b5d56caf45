"""Declarations (自主申报): handed over by a channel, compared like entries, withdrawn, and read masked.

A declaration is a source of its own. It changes neither what the grid collected nor what a department keeps.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, false, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.clock import now
from backend.core.enums import Course, DeclarationState, Kind, Reach, SourceType, VerdictKind, WithdrawalReason
from backend.core.errors import Forbidden, NotFound, TooLarge, ZhiwangError
from backend.kinds import KINDS, Document, identity_of
from backend.kinds.base import Record as RecordForm
from backend.kinds.forms import faults, normalised
from backend.kinds.geodesy import SCALE
from backend.models import Declaration, DeclarationVersion
from backend.models import Document as Record
from backend.services import audit, counterparts, documents, erased, territory
from backend.services.declaration_schemas import DeclarationPage, DeclarationView, Declared, Result, result_of
from backend.services.masking import masked_fields
from backend.services.record_search import sent_to
from backend.services.records import SealedRow, StoredRow, indexes, open_rows, seal_rows
from backend.services.scope import in_territory
from backend.services.sealing import SubjectErased, Vault
from backend.services.sessions import Caller

CHECK_JOB = "workflows.crosscheck"
WITHDRAWN_JOB = "workflows.cases.declaration_withdrawn"
MAX_BYTES = 256 * 1024
AHEAD = timedelta(minutes=5)
"""By so much a channel's clock may be ahead of ours."""

NOWHERE = "0" * 15
"""Stands for the grid, which nobody declares, while the form is checked."""

NOT_DECLARED = frozenset(RecordForm.model_fields) - {"remark"}
"""Fields of every record that are the field worker's: grid, time of collection, photos."""


class DeclarationUnfit(ZhiwangError):
    """`places` says where, never with a value."""

    code = "declaration_unfit"
    status = 409
    title_zh = "申报内容不符合规范，请检查所列项目"
    title_en = "The declaration does not fit its form; see the places"


class DeclarationOutdated(ZhiwangError):
    """`declared_at` is that of the version in force: what was declared before it changes nothing any more."""

    code = "declaration_outdated"
    status = 409
    title_zh = "已有更新的申报，此次内容未采用"
    title_en = "A newer version of the declaration is in force"


class DeclarationEnded(ZhiwangError):
    """What was withdrawn stays so; what is declared anew has an id of its own."""

    code = "declaration_ended"
    status = 409
    title_zh = "该申报已撤回，如需再次申报请重新提交"
    title_en = "The declaration was withdrawn; declare it anew under another id"


def hand_over(session: Session, *, caller: Caller, declaration_id: UUID, given: Declared) -> DeclarationView:
    """Take a declaration, or the next version of one. The same content again is answered as it was, and changes
    nothing.

    `DeclarationUnfit`, `DeclarationOutdated`, `DeclarationEnded`, `TooLarge`; `SubjectErased` for whoever was erased;
    `NotFound` for an id that is another channel's, or a record's.
    """
    fields = _checked(given)
    erased.hold_off(session)
    documents.lock(session, [declaration_id])
    mine = select(Declaration).where(Declaration.id == declaration_id, Declaration.account_id == caller.account_id)
    row = session.exec(mine.with_for_update()).first()
    if row is not None:
        if _says_the_same(session, row, given, fields):
            return _views(session, caller, [row])[0]
        _check_newer(row, given, fields)
    vault = Vault(session)
    if gone := vault.erased({declaration_id.bytes, *erased.named_in(fields)}):
        raise SubjectErased(gone)
    (sealed,) = seal_rows(session, [(given.kind, declaration_id, fields)], vault=vault)
    version = 1 if row is None else row.version + 1
    values = _columns(session, declaration_id, given, fields, sealed) | {"version": version}
    row = _insert(session, caller, values) if row is None else _update(session, row, values)
    session.add(
        DeclarationVersion(
            declaration_id=declaration_id,
            version=version,
            grid_id=row.grid_id,
            body=row.body,
            sealed=row.sealed,
            declared_at=row.declared_at,
            created_at=row.updated_at,
        )
    )
    session.flush()
    _note(session, str(caller.account_id), row, "declared", version=version)
    _ask_for_check(session, row)
    return _views(session, caller, [row])[0]


def withdraw(session: Session, *, caller: Caller, declaration_id: UUID, reason: WithdrawalReason) -> DeclarationView:
    """Take a declaration of the caller's back; one that has ended stays as it is. `NotFound` for another's."""
    documents.lock(session, [declaration_id])
    query = select(Declaration).where(Declaration.id == declaration_id, Declaration.account_id == caller.account_id)
    row = session.exec(query.with_for_update()).first()
    if row is None:
        raise NotFound
    if row.state is DeclarationState.IN_FORCE:
        row.state, row.end_reason, row.ended_at = DeclarationState.WITHDRAWN, reason, now()
        session.flush()
        _note(session, str(caller.account_id), row, "declaration_withdrawn", reason=reason.value)
        jobs.enqueue(session, WITHDRAWN_JOB, key=str(row.id), declaration_id=str(row.id))
        jobs.enqueue_many(session, [counterparts.job(SourceType.DECLARATION, row.id, row.version)])
    return _views(session, caller, [row])[0]


def read(session: Session, *, caller: Caller, declaration_id: UUID) -> DeclarationView:
    """One declaration, masked. `NotFound` outside the caller's reach."""
    row = session.exec(select(Declaration).where(Declaration.id == declaration_id, _in_reach(caller))).first()
    if row is None:
        raise NotFound
    return _views(session, caller, [row])[0]


def listed(
    session: Session,
    *,
    caller: Caller,
    kind: Kind | None,
    state: DeclarationState | None,
    collected: bool | None,
    limit: int,
    before: UUID | None,
) -> DeclarationPage:
    """A page of the declarations in the caller's reach, masked. `collected`: only those about what the caller's grids
    have a record of, or about what they have none of (漏采); `Forbidden` for a channel, which sees no records."""
    if collected is not None and Reach.SELF in caller.reach:
        raise Forbidden
    query = select(Declaration).where(_in_reach(caller)).order_by(col(Declaration.id).desc()).limit(limit + 1)
    if kind is not None:
        query = query.where(Declaration.kind == kind)
    if state is not None:
        query = query.where(Declaration.state == state)
    if collected is not None:
        query = query.where(_is_collected() if collected else ~_is_collected())
    if before is not None:
        query = query.where(col(Declaration.id) < before)
    rows = session.exec(query).all()
    more = rows[limit - 1].id if len(rows) > limit else None
    return DeclarationPage(declarations=_views(session, caller, rows[:limit]), next=more)


def _checked(given: Declared) -> Document:
    """The fields as they are stored."""
    spec, fields = KINDS[given.kind], given.fields
    unknown = (fields.keys() - spec.model.model_fields.keys()) | (fields.keys() & NOT_DECLARED)
    places = [f"{name}: not_declared" for name in sorted(unknown)]
    places += faults(spec, {**fields, "grid_id": NOWHERE})
    named = identity_of(fields) if spec.subject_is_human else fields.get(spec.natural_key or "")
    if not named:
        places.append(f"{'id_number' if spec.subject_is_human else spec.natural_key}: missing")
    if given.declared_at > now() + AHEAD:
        places.append("declared_at: in_the_future")
    if places:
        raise DeclarationUnfit(places=places)
    if len(msgspec.json.encode(fields)) > MAX_BYTES:
        raise TooLarge(limit=MAX_BYTES)
    return normalised(spec, fields)


def _says_the_same(session: Session, row: Declaration, given: Declared, fields: Document) -> bool:
    if (row.kind, row.declared_at) != (given.kind, given.declared_at):
        return False
    return _opened(session, [row])[row.id] == fields


def _check_newer(row: Declaration, given: Declared, fields: Document) -> None:
    """What it is about stays: who has mistaken the number withdraws, and declares anew."""
    found = indexes(given.kind, fields)
    if row.state is not DeclarationState.IN_FORCE:
        raise DeclarationEnded
    spec = KINDS[given.kind]
    if row.kind is not given.kind:
        raise DeclarationUnfit(places=["kind: changed"])
    if (row.id_index, row.natural_key) != (found.id_index, found.natural_key):
        raise DeclarationUnfit(places=[f"{spec.natural_key or 'id_number'}: changed"])
    if given.declared_at <= row.declared_at:
        raise DeclarationOutdated(declared_at=row.declared_at.isoformat())


def _columns(
    session: Session, declaration_id: UUID, given: Declared, fields: Document, sealed: SealedRow
) -> dict[str, Any]:
    found = sealed.indexes
    return {
        "id": declaration_id,
        "kind": given.kind,
        "grid_id": _grid_of(session, declaration_id, fields),
        "body": sealed.body,
        "sealed": sealed.sealed,
        "id_index": found.id_index,
        "phone_index": found.phone_index,
        "block_index": found.block_index,
        "name_year_index": found.name_year_index,
        "name_address_index": found.name_address_index,
        "natural_key": found.natural_key,
        "declared_at": given.declared_at,
        "updated_at": now(),
    }


def _grid_of(session: Session, declaration_id: UUID, fields: Document) -> str | None:
    """The grid of the house that is named, else of the point. `NotFound` where the id is a record's: the keys of what
    is sealed are found by ids."""
    house = fields.get("house_id")
    named = {"id": declaration_id, "house": UUID(house) if house else None, "code": fields.get("house_code")}
    ((taken, grid_id),) = statements.rows(session, _PLACE, named)
    if taken:
        raise NotFound
    location = fields.get("location")
    if grid_id is not None or not isinstance(location, Mapping):
        return grid_id if isinstance(grid_id, str) else None
    return territory.grid_at(session, location["lat"] / SCALE, location["lon"] / SCALE)


def _insert(session: Session, caller: Caller, values: dict[str, Any]) -> Declaration:
    first = {"account_id": caller.account_id, "state": DeclarationState.IN_FORCE, "created_at": values["updated_at"]}
    statement = insert(Declaration).values(**values, **first).on_conflict_do_nothing()
    if session.connection().execute(statement.returning(col(Declaration.id))).first() is None:
        raise NotFound
    return session.get_one(Declaration, values["id"])


def _update(session: Session, row: Declaration, values: dict[str, Any]) -> Declaration:
    for name, value in values.items():
        setattr(row, name, value)
    session.flush()
    return row


def _ask_for_check(session: Session, row: Declaration) -> None:
    """Of the declaration, and of what the grid has collected about the same."""
    jobs.enqueue(
        session,
        CHECK_JOB,
        key=f"{SourceType.DECLARATION}:{row.id}:{row.version}",
        source_type=SourceType.DECLARATION.value,
        source_id=str(row.id),
        source_version=row.version,
    )
    jobs.enqueue_many(session, [counterparts.job(SourceType.DECLARATION, row.id, row.version)])


def _in_reach(caller: Caller) -> ColumnElement[bool]:
    ways: list[ColumnElement[bool]] = []
    if Reach.SELF in caller.reach:
        ways.append(col(Declaration.account_id) == caller.account_id)
    if Reach.TERRITORY in caller.reach:
        ways.append(in_territory(Declaration.grid_id, caller))
    if Reach.DEPARTMENT in caller.reach and caller.department_code:
        ways.append(sent_to(caller, SourceType.DECLARATION, Declaration.id))
    return or_(false(), *ways)


def _is_collected() -> ColumnElement[bool]:
    """Whether there is a living record about the same."""
    living = and_(col(Record.kind) == Declaration.kind, col(Record.deleted).is_(False))
    numbered = select(Record.id).where(living, col(Record.id_index) == Declaration.id_index)
    coded = select(Record.id).where(living, col(Record.natural_key) == Declaration.natural_key)
    return or_(numbered.exists(), coded.exists())


def _views(session: Session, caller: Caller, rows: Sequence[Declaration]) -> list[DeclarationView]:
    opened, results = _opened(session, rows), _results(session, rows)
    offices = Reach.SELF not in caller.reach
    return [
        DeclarationView(
            id=row.id,
            kind=row.kind,
            version=row.version,
            state=row.state,
            grid_id=row.grid_id if offices else None,
            declared_at=row.declared_at,
            received_at=row.created_at,
            updated_at=row.updated_at,
            ended_at=row.ended_at,
            end_reason=row.end_reason,
            fields=masked_fields(row.kind, opened[row.id]),
            result=results.get(row.id) or result_of(row.state),
        )
        for row in rows
    ]


def _opened(session: Session, rows: Sequence[Declaration]) -> dict[UUID, Document]:
    """The fields by declaration; of whoever was erased none."""
    fields = open_rows(session, [StoredRow(row.id, row.body, row.sealed) for row in rows])
    return {row.id: found for row, found in zip(rows, fields, strict=True)}


def _results(session: Session, rows: Sequence[Declaration]) -> dict[UUID, Result]:
    """What is in force about the current versions, where they were compared."""
    named = {"ids": [row.id for row in rows], "versions": [row.version for row in rows]}
    found = statements.rows(session, _RESULTS, named)
    states = {row.id: row.state for row in rows}
    return {
        one: result_of(states[one], VerdictKind(verdict), Course(course) if course else None, at)
        for one, verdict, course, at in found
    }


def _note(session: Session, actor: str, row: Declaration, action: str, **detail: str | int) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="declaration",
        object_id=str(row.id),
        kind=row.kind.value,
        **detail,
    )


_PLACE = "SELECT taken, grid_id FROM zw_declared(%(id)s::uuid, %(house)s::uuid, %(code)s::text)"
_RESULTS = """
    SELECT v.source_id, CAST(v.verdict AS text), CAST(s.course AS text), v.created_at
    FROM unnest(%(ids)b::uuid[], %(versions)b::integer[]) AS wanted (id, version)
    JOIN verdict v ON v.source_type = 'declaration' AND v.source_id = wanted.id AND v.source_version = wanted.version
        AND v.superseded_at IS NULL
    LEFT JOIN settlement s ON s.verdict_id = v.id AND s.superseded_at IS NULL
    ORDER BY v.id
"""
