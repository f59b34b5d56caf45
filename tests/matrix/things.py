"""The things of the matrix: one object of each sort in one place."""

import json
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import (
    CaseState,
    ConflictState,
    Course,
    Hardness,
    Kind,
    PhotoState,
    QuarantineCode,
    ReportState,
    SourceType,
    VerdictKind,
)
from backend.core.ids import new_id
from backend.models import (
    Case,
    Citizen,
    Conflict,
    Derivative,
    Document,
    Photo,
    Quarantine,
    RegistrationStandard,
    Report,
    Settlement,
    Verdict,
    VerificationRequest,
    Visit,
)
from backend.services.objects import object_store
from backend.services.quarantined import QuarantinedRow, seal_all
from backend.services.sealing import Part, Vault, seal_value
from sync.service import publish
from tests.matrix.cells import Place
from tests.matrix.declared import declaration
from tests.matrix.people import DEPARTMENT, Person
from tests.world import Json

PICTURE = b"\xff\xd8\xff synthetic"


@dataclass(frozen=True, slots=True)
class Things:
    """One object of each sort in one place."""

    grid_id: str
    document_id: UUID
    fields: Json
    op: UUID
    photo_id: UUID
    verdict_id: UUID
    case_id: UUID
    report_id: UUID
    conflict_id: UUID
    held_id: UUID
    verification_id: UUID
    settlement_id: UUID
    visit_id: UUID
    declaration_id: UUID
    case_ids: frozenset[UUID]


def things(session: Session, place: Place, grid_id: str, worker: Person) -> Things:
    photo_id, document_id = photo(session, owner_id=None), new_id()
    manifest = {"photo_id": str(photo_id), "sha256": digest(), "size": len(PICTURE), "mime": "image/jpeg"}
    fields: Json = {
        "grid_id": grid_id,
        "class_code": "0101",
        "occurred_at": "2026-03-02T09:30:00+08:00",
        "location": {"lat": 226900000, "lon": 1143400000, "datum": "wgs84"},
        "description": f"合成事件 {place}",
        "photos": [manifest],
    }
    publish(session, kind=Kind.EVENT, document_id=document_id, grid_id=grid_id, fields=fields)
    verdict_id = _verdict(session, document_id, grid_id)
    case_id = _case(session, verdict_id, document_id, grid_id, sent=place is Place.SENT)
    declaration_id = declaration(session, worker.account_id, grid_id)
    case_ids = {case_id}
    if place is Place.SENT:
        declared = SourceType.DECLARATION
        case_ids.add(_case(session, verdict_id, declaration_id, grid_id, sent=True, source_type=declared))
    return Things(
        grid_id,
        document_id,
        fields,
        _op_of(session, document_id),
        photo_id,
        verdict_id,
        case_id,
        _report(session, grid_id),
        conflict_of(session, document_id, grid_id, worker),
        _held(session, document_id, fields, worker),
        _verification(session, document_id, grid_id, worker, sent=place is Place.SENT),
        _settlement(session, verdict_id, document_id, grid_id),
        _visit(session, verdict_id, document_id),
        declaration_id,
        frozenset(case_ids),
    )


def _held(session: Session, document_id: UUID, fields: Json, worker: Person) -> UUID:
    """An edit of the record that the worker pushed and that waits for review."""
    assert worker.device_id is not None
    row = {"newDocumentState": {**fields, "id": str(document_id), "op": str(new_id()), "description": "待审"}}
    content, held_id = json.dumps(row).encode(), new_id()
    (payload,) = seal_all(Vault(session), [QuarantinedRow(held_id, Kind.EVENT, document_id, content)])
    session.add(
        Quarantine(
            id=held_id,
            device_id=worker.device_id,
            account_id=worker.account_id,
            kind=Kind.EVENT,
            document_id=document_id,
            op=new_id(),
            grid_id=fields["grid_id"],
            code=QuarantineCode.PAST_MEMBERSHIP,
            places=[],
            fingerprint=held_id.bytes,
            payload=payload,
            created_at=now(),
        )
    )
    session.flush()
    return held_id


def conflict_of(session: Session, document_id: UUID, grid_id: str, worker: Person, *, decided: bool = False) -> UUID:
    """A conflict about the severity that the worker pushed; the record has none."""
    assert worker.device_id is not None
    vault, own = Vault(session), document_id.bytes
    vault.provide([own])
    blob = vault.seal([Part(own, ("field",), "severity"), Part(own, ("mine",), "urgent")], context=own)
    conflict = Conflict(
        document_id=document_id,
        kind=Kind.EVENT,
        grid_id=grid_id,
        op=new_id(),
        field="severity",
        hardness=Hardness.HARD,
        sides=blob,
        device_id=worker.device_id,
        account_id=worker.account_id,
        state=ConflictState.RESOLVED if decided else ConflictState.OPEN,
        created_at=now(),
    )
    session.add(conflict)
    session.flush()
    return conflict.id


def _verification(session: Session, document_id: UUID, grid_id: str, worker: Person, *, sent: bool) -> UUID:
    """A value that the worker proposes for a field of the department of the scene, or of another one."""
    assert worker.device_id is not None
    vault, own = Vault(session), document_id.bytes
    vault.provide([own])
    request = VerificationRequest(
        document_id=document_id,
        kind=Kind.EVENT,
        grid_id=grid_id,
        op=new_id(),
        field="severity",
        dataset="components" if sent else "houses",
        version=1,
        sides=vault.seal([Part(own, ("proposed",), "urgent")], context=own),
        photos=[],
        device_id=worker.device_id,
        account_id=worker.account_id,
        created_at=now(),
    )
    session.add(request)
    session.flush()
    return request.id


def _op_of(session: Session, document_id: UUID) -> UUID:
    return session.get_one(Document, document_id).op


def digest() -> str:
    return sha256(PICTURE).hexdigest()


def photo(session: Session, *, owner_id: UUID | None) -> UUID:
    photo_id = new_id()
    key = f"derivatives/matrix/{photo_id}"
    object_store().put(key, PICTURE)
    session.add(
        Photo(
            id=photo_id,
            taken_as=photo_id,
            owner_id=owner_id,
            sha256=digest(),
            size=len(PICTURE),
            mime="image/jpeg",
            state=PhotoState.PROCESSED,
            created_at=now(),
        )
    )
    session.flush()
    session.add(
        Derivative(
            photo_id=photo_id,
            variant="thumb",
            storage_key=key,
            mime="image/jpeg",
            width=1,
            height=1,
            size=len(PICTURE),
            sha256=digest(),
        )
    )
    session.flush()
    return photo_id


def _verdict(session: Session, document_id: UUID, grid_id: str) -> UUID:
    verdict = Verdict(
        id=new_id(),
        source_type=SourceType.DOCUMENT,
        source_id=document_id,
        source_version=1,
        kind=Kind.EVENT,
        grid_id=grid_id,
        rule_version=1,
        verdict=VerdictKind.ACCEPTED,
        findings=[],
        snapshots={},
        created_at=now(),
    )
    session.add(verdict)
    session.flush()
    return verdict.id


def _settlement(session: Session, verdict_id: UUID, document_id: UUID, grid_id: str) -> UUID:
    settlement = Settlement(
        verdict_id=verdict_id,
        source_type=SourceType.DOCUMENT,
        source_id=document_id,
        source_version=1,
        kind=Kind.EVENT,
        grid_id=grid_id,
        rule_version=1,
        course=Course.NONE,
        reason="nothing_asked",
        created_at=now(),
    )
    session.add(settlement)
    session.flush()
    return settlement.id


def _visit(session: Session, verdict_id: UUID, document_id: UUID) -> UUID:
    visit = Visit(
        verdict_id=verdict_id,
        document_id=document_id,
        kind=Kind.EVENT,
        version=1,
        finding=VerdictKind.MOVED.value,
        due_at=now(),
        created_at=now(),
    )
    session.add(visit)
    session.flush()
    return visit.id


def _case(
    session: Session,
    verdict_id: UUID,
    source_id: UUID,
    grid_id: str,
    *,
    sent: bool,
    source_type: SourceType = SourceType.DOCUMENT,
) -> UUID:
    standard = session.exec(select(RegistrationStandard)).first()
    assert standard is not None
    moment = now()
    case = Case(
        id=new_id(),
        source_type=source_type,
        source_id=source_id,
        source_version=1,
        rule_version=1,
        verdict_id=verdict_id,
        reason=VerdictKind.ACCEPTED.value,
        grid_id=grid_id,
        queue_code="12345-4403",
        standard_scheme=standard.scheme,
        standard_code=standard.code,
        state=CaseState.DISPATCHED if sent else CaseState.ACCEPTED,
        department_code=DEPARTMENT if sent else None,
        deadline_at=moment + timedelta(days=1),
        opened_at=moment,
    )
    session.add(case)
    session.flush()
    return case.id


def _report(session: Session, grid_id: str) -> UUID:
    report_id, citizen_id, moment = new_id(), new_id(), now()
    session.add(
        Citizen(
            id=citizen_id,
            openid_index=citizen_id.bytes,
            openid=seal_value(session, citizen_id.bytes, "o-synthetic", context=citizen_id.bytes),
            created_at=moment,
        )
    )
    session.flush()
    session.add(
        Report(
            id=report_id,
            citizen_id=citizen_id,
            state=ReportState.SUBMITTED,
            body={"class_code": "0101"},
            sealed=seal_value(session, report_id.bytes, {"notes": [], "text": "合成"}, context=report_id.bytes),
            grid_id=grid_id,
            opened_at=moment,
            last_message_at=moment,
            submitted_at=moment,
        )
    )
    session.flush()
    return report_id
