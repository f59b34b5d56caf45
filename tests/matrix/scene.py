"""The people and things of the matrix: one account of each role, and the same set of objects in each place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import NullPool, create_engine, update
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.db import dialect_url, transaction
from backend.core.enums import (
    AccessReason,
    CaseState,
    ConflictState,
    ErasureReason,
    ErasureState,
    ExportPurpose,
    ExportWhat,
    FileState,
    Hardness,
    ImportState,
    Kind,
    PhotoState,
    QuarantineCode,
    ReportState,
    Role,
    SourceType,
    SubjectType,
    VerdictKind,
)
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import (
    AccessRequest,
    Account,
    Case,
    Citizen,
    Conflict,
    Derivative,
    Device,
    Document,
    Erasure,
    Export,
    Grid,
    Membership,
    Notice,
    Photo,
    Posting,
    Quarantine,
    RegistrationStandard,
    Report,
    SessionFamily,
    Snapshot,
    Upload,
    Verdict,
    VerificationRequest,
)
from backend.seed.territory import DEMO_GRIDS
from backend.services.accounts import create_account
from backend.services.objects import object_store
from backend.services.quarantined import QuarantinedRow, seal_all
from backend.services.registry_rejects import RejectFile
from backend.services.registry_rows import REASONS, Rejected
from backend.services.sealing import Part, Vault, seal_value
from backend.services.sessions import open_family
from sync.service import publish
from tests.matrix.cells import GRID_PLACES, Place, State
from tests.world import DeviceKey, Json

STREET = DEMO_GRIDS[0][:9]
DEPARTMENT = "urban-management"
PASSWORD = "matrix-only-2026-passphrase"
PICTURE = b"\xff\xd8\xff synthetic"


@dataclass(frozen=True, slots=True)
class Person:
    """A caller: the account, the handheld if any, and a bearer token for each state of the login."""

    role: Role | None
    account_id: UUID = field(default_factory=new_id)
    login: str = ""
    device_id: UUID | None = None
    key: DeviceKey = field(default_factory=DeviceKey)
    tokens: Mapping[State, str] = field(default_factory=dict)
    refresh_token: str = ""

    def headers(self, state: State) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[state]}"} if self.tokens else {}

    def states(self) -> list[State]:
        return list(self.tokens) or [State.LIVE]


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


@dataclass
class Scene:
    """Everybody and everything, committed."""

    people: dict[Role | None, Person] = field(default_factory=dict)
    places: dict[Place, Things] = field(default_factory=dict)
    photos: dict[Role | None, UUID] = field(default_factory=dict)
    uploads: dict[Role | None, UUID] = field(default_factory=dict)
    notices: dict[Role | None, UUID] = field(default_factory=dict)
    conflicts: dict[Role | None, UUID] = field(default_factory=dict)
    workers: dict[Place, Person] = field(default_factory=dict)
    postings: dict[Place, UUID] = field(default_factory=dict)
    memberships: dict[Place, UUID] = field(default_factory=dict)
    snapshot_id: UUID = field(default_factory=new_id)
    erasure_id: UUID = field(default_factory=new_id)
    access_requests: dict[Role | None, UUID] = field(default_factory=dict)
    exports: dict[Role | None, UUID] = field(default_factory=dict)

    def photo_at(self, place: Place, role: Role | None) -> UUID:
        own = place is Place.OWN and role
        return self.photos[role] if own else self.places.get(place, self.places[Place.FAR]).photo_id


def build() -> Scene:
    """Write the scene in one transaction, as the owner: no runtime role may write all of it."""
    scene = Scene({None: Person(None)})
    owner = create_engine(dialect_url(get_settings().migration_url()), poolclass=NullPool)
    with transaction(owner) as session:
        grids = _grids(session)
        _refused_import(session, scene.snapshot_id)
        _requests(session, scene)
        for role in Role:
            scene.people[role] = _person(session, role)
        _terms(session, scene.people[Role.GRID_WORKER], grids)
        for place, grid_id in grids.items():
            scene.workers[place] = _worker_of(session, grid_id)
            scene.places[place] = _things(session, place, grid_id, scene.workers[place])
            scene.postings[place] = _posting_of(session, scene.workers[place])
            scene.memberships[place] = _membership(session, scene.workers[place], grid_id)
        for owner_role, person in scene.people.items():
            if owner_role is not None:
                _own_things(session, scene, owner_role, person)
        worker, held = scene.people[Role.GRID_WORKER], scene.places[Place.HELD]
        scene.conflicts[worker.role] = _conflict(session, held.document_id, held.grid_id, worker, decided=True)
    return scene


def _requests(session: Session, scene: Scene) -> None:
    """What citizens asked for: nobody of the scene is the one who asked."""
    erasure = Erasure(
        id=scene.erasure_id,
        subject_type=SubjectType.CITIZEN,
        citizen_id=new_id(),
        reason=ErasureReason.SUBJECT_REQUEST,
        state=ErasureState.REQUESTED,
        requested_at=now(),
    )
    session.add(erasure)
    session.flush()


def _grids(session: Session) -> dict[Place, str]:
    """A grid for each place. Their divisions are real, the grids synthetic."""
    every = list(session.exec(select(Grid.id).order_by(Grid.id)))
    district = STREET[:6]
    return {
        Place.HELD: DEMO_GRIDS[0],
        Place.NEAR: next(grid for grid in every if grid.startswith(STREET) and grid != DEMO_GRIDS[0]),
        Place.PAST: next(grid for grid in every if grid.startswith(district) and not grid.startswith(STREET)),
        Place.FAR: next(grid for grid in every if not grid.startswith(district)),
        Place.SENT: next(grid for grid in reversed(every) if not grid.startswith(district)),
    }


def _person(session: Session, role: Role, *, territory: str = STREET, login: str = "") -> Person:
    login = login or f"matrix-{role.value}"
    account_id = _account(session, role, login, territory)
    inactive_id = _account(session, role, f"{login}-inactive", territory)
    key = DeviceKey()
    device_id = _device(session, account_id, key) if role is Role.GRID_WORKER else None
    live = open_family(session, account_id=account_id, device_id=device_id)
    tokens = {State.LIVE: live.access_token}
    tokens[State.ENDED] = open_family(session, account_id=account_id, device_id=device_id).access_token
    _end_newest(session, account_id)
    if device_id is not None:
        lost = _device(session, account_id, DeviceKey(), revoked=True)
        tokens[State.REVOKED] = open_family(session, account_id=account_id, device_id=lost).access_token
    tokens[State.INACTIVE] = open_family(session, account_id=inactive_id, device_id=None).access_token
    session.connection().execute(update(Account).where(col(Account.id) == inactive_id).values(active=False))
    return Person(role, account_id, login, device_id, key, tokens, live.refresh_token)


def _account(session: Session, role: Role, login: str, territory: str) -> UUID:
    department = DEPARTMENT if role is Role.HANDLER else None
    return create_account(
        session,
        actor="matrix",
        login=login,
        display_name="合成账号",
        role=role,
        password=PASSWORD,
        territory_code=territory,
        department_code=department,
    )


def _device(session: Session, account_id: UUID, key: DeviceKey, *, revoked: bool = False) -> UUID:
    moment = now()
    device = Device(
        id=new_id(),
        account_id=account_id,
        name="synthetic",
        public_key=key.jwk(),
        enrolled_at=moment,
        revoked_at=moment if revoked else None,
    )
    session.add(device)
    session.flush()
    return device.id


def _end_newest(session: Session, account_id: UUID) -> None:
    newest = select(SessionFamily).where(SessionFamily.account_id == account_id)
    family = session.exec(newest.order_by(col(SessionFamily.id).desc())).first()
    assert family is not None
    family.revoked_at = now()
    session.add(family)
    session.flush()


def _terms(session: Session, worker: Person, grids: Mapping[Place, str]) -> None:
    """The worker holds one grid today and held another until yesterday."""
    moment = now()
    began = moment - timedelta(days=9)
    for place, ended in ((Place.HELD, None), (Place.PAST, moment - timedelta(days=1))):
        session.add(
            Membership(account_id=worker.account_id, grid_id=grids[place], epoch=1, starts_at=began, ends_at=ended)
        )
    session.flush()


def _worker_of(session: Session, grid_id: str) -> Person:
    """A worker of the street or district that a place lies in, as an object for those who manage workers."""
    return _person(session, Role.GRID_WORKER, territory=grid_id[:12], login=f"matrix-worker-{grid_id}")


def _posting_of(session: Session, worker: Person) -> UUID:
    return session.exec(select(Posting.id).where(Posting.account_id == worker.account_id)).one()


def _membership(session: Session, worker: Person, grid_id: str) -> UUID:
    """Beside the one of the scene's own worker."""
    term = Membership(account_id=worker.account_id, grid_id=grid_id, epoch=2, starts_at=now() - timedelta(days=1))
    session.add(term)
    session.flush()
    return term.id


def _things(session: Session, place: Place, grid_id: str, worker: Person) -> Things:
    photo_id, document_id = _photo(session, owner_id=None), new_id()
    manifest = {"photo_id": str(photo_id), "sha256": _digest(), "size": len(PICTURE), "mime": "image/jpeg"}
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
    return Things(
        grid_id,
        document_id,
        fields,
        _op_of(session, document_id),
        photo_id,
        verdict_id,
        case_id,
        _report(session, grid_id),
        _conflict(session, document_id, grid_id, worker),
        _held(session, document_id, fields, worker),
        _verification(session, document_id, grid_id, worker, sent=place is Place.SENT),
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


def _conflict(session: Session, document_id: UUID, grid_id: str, worker: Person, *, decided: bool = False) -> UUID:
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


def _digest() -> str:
    return sha256(PICTURE).hexdigest()


def _photo(session: Session, *, owner_id: UUID | None) -> UUID:
    photo_id = new_id()
    key = f"derivatives/matrix/{photo_id}"
    object_store().put(key, PICTURE)
    session.add(
        Photo(
            id=photo_id,
            taken_as=photo_id,
            owner_id=owner_id,
            sha256=_digest(),
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
            sha256=_digest(),
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


def _case(session: Session, verdict_id: UUID, document_id: UUID, grid_id: str, *, sent: bool) -> UUID:
    standard = session.exec(select(RegistrationStandard)).first()
    assert standard is not None
    moment = now()
    case = Case(
        id=new_id(),
        source_type=SourceType.DOCUMENT,
        source_id=document_id,
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


def _refused_import(session: Session, snapshot_id: UUID) -> None:
    """A load of which every row was refused, with its reject file."""
    with RejectFile(session, snapshot_id) as rejects:
        rejects.begin(["姓名"])
        rejects.add([Rejected(2, "姓名", next(iter(REASONS)), ["合成"])])
        snapshot = Snapshot(
            id=snapshot_id,
            dataset_code="population",
            taken_at=now(),
            state=ImportState.FAILED,
            reject_key=rejects.store(),
            sha256=_digest(),
        )
    session.add(snapshot)
    session.flush()


def _access_request(session: Session, person: Person) -> UUID:
    row = AccessRequest(
        id=new_id(),
        subject_type=SubjectType.CITIZEN,
        citizen_id=new_id(),
        reason=AccessReason.SUBJECT_REQUEST,
        state=FileState.REQUESTED,
        requested_by=person.account_id,
        requested_at=now(),
    )
    session.add(row)
    session.flush()
    return row.id


def _export(session: Session, person: Person) -> UUID:
    assert person.account_id is not None
    row = Export(
        id=new_id(),
        what=ExportWhat.CASES,
        filters={},
        fields=["number"],
        purpose_code=ExportPurpose.STATISTICS,
        purpose=b"",
        state=FileState.REQUESTED,
        requested_by=person.account_id,
        requested_at=now(),
    )
    session.add(row)
    session.flush()
    return row.id


def _own_things(session: Session, scene: Scene, role: Role, person: Person) -> None:
    scene.access_requests[role] = _access_request(session, person)
    scene.exports[role] = _export(session, person)
    moment = now()
    scene.photos[role] = _photo(session, owner_id=person.account_id)
    upload = Upload(
        id=new_id(),
        photo_id=new_id(),
        owner_id=person.account_id,
        length=len(PICTURE),
        declared={"sha256": _digest(), "mime": "image/jpeg"},
        created_at=moment,
        expires_at=moment + timedelta(hours=1),
    )
    notice = Notice(
        id=new_id(),
        recipient_type="account",
        recipient_id=person.account_id,
        key="matrix",
        template="welcome",
        payload={},
        created_at=moment,
    )
    session.add(upload)
    session.add(notice)
    session.flush()
    scene.uploads[role], scene.notices[role] = upload.id, notice.id


__all__ = ["GRID_PLACES", "PICTURE", "STREET", "Person", "Scene", "Things", "build"]
