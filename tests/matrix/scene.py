"""The scene of the matrix: one account of each role, and the same set of objects in each place."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import NullPool, create_engine
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.db import dialect_url, transaction
from backend.core.enums import (
    AccessReason,
    ErasureReason,
    ErasureState,
    ExportPurpose,
    ExportWhat,
    FileState,
    ImportState,
    ReconcileEngine,
    ReconciliationPhase,
    ReconciliationState,
    Role,
    SubjectType,
)
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import (
    AccessRequest,
    Erasure,
    Export,
    Grid,
    Notice,
    Reconciliation,
    Snapshot,
    Upload,
)
from backend.seed.territory import DEMO_GRIDS
from backend.services.registry_rejects import RejectFile
from backend.services.registry_rows import REASONS
from backend.services.registry_tables import Rejected
from tests.matrix.cells import GRID_PLACES, Place
from tests.matrix.declared import declaration
from tests.matrix.people import STREET, Person, membership, person_of, posting_of, terms, worker_of
from tests.matrix.things import PICTURE, Things, conflict_of, digest, photo, things


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
    runs: dict[Place, UUID] = field(default_factory=dict)
    declarations: dict[Role, UUID] = field(default_factory=dict)

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
            scene.people[role] = person_of(session, role)
        terms(session, scene.people[Role.GRID_WORKER], grids)
        for place, grid_id in grids.items():
            scene.workers[place] = worker_of(session, grid_id)
            scene.places[place] = things(session, place, grid_id, scene.workers[place])
            scene.postings[place] = posting_of(session, scene.workers[place])
            scene.memberships[place] = membership(session, scene.workers[place], grid_id)
        steward = scene.people[Role.STEWARD]
        scene.runs = {place: _run(session, scene, grid_id, steward) for place, grid_id in grids.items()}
        for owner_role, person in scene.people.items():
            if owner_role is not None:
                _own_things(session, scene, owner_role, person)
        channel = Role.DECLARATION_CHANNEL
        scene.declarations[channel] = declaration(session, scene.people[channel].account_id)
        worker, held = scene.people[Role.GRID_WORKER], scene.places[Place.HELD]
        scene.conflicts[worker.role] = conflict_of(session, held.document_id, held.grid_id, worker, decided=True)
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
            sha256=digest(),
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


def _run(session: Session, scene: Scene, grid_id: str, asked_by: Person) -> UUID:
    """A bulk reconciliation of one grid that has just been asked for."""
    assert asked_by.account_id is not None
    run = Reconciliation(
        dataset_code="population",
        snapshot_id=scene.snapshot_id,
        model_version=1,
        engine=ReconcileEngine.DUCKDB,
        territory_code=grid_id,
        grids=[grid_id],
        state=ReconciliationState.RUNNING,
        phase=ReconciliationPhase.KEYS,
        requested_by=asked_by.account_id,
        requested_at=now(),
    )
    session.add(run)
    session.flush()
    return run.id


def _own_things(session: Session, scene: Scene, role: Role, person: Person) -> None:
    scene.access_requests[role] = _access_request(session, person)
    scene.exports[role] = _export(session, person)
    moment = now()
    scene.photos[role] = photo(session, owner_id=person.account_id)
    upload = Upload(
        id=new_id(),
        photo_id=new_id(),
        owner_id=person.account_id,
        length=len(PICTURE),
        declared={"sha256": digest(), "mime": "image/jpeg"},
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
