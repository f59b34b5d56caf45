"""Who sees a photo and its completeness: owners, holders of the grid, the offices above."""

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend.core.enums import Role, SourceType
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.models import (
    Account,
    Grid,
    Membership,
    PhotoLink,
)
from backend.services.photos import link_photos, receive_photo
from media.service import photo_view, record_completeness
from media.tasks import process
from tests.people import accounts_of
from tests.rooms.case_builders import Entries
from tests.rooms.case_builders import grid_of as case_grid
from tests.rooms.media_samples import jpeg
from tests.rooms.photo_builders import add_record, caller_of, entry, grid_of, office_of, sees

pytestmark = pytest.mark.usefixtures("state_dir")


def test_a_photo_is_seen_by_its_owner_the_grid_and_the_offices_above(session: Session, worker: Account) -> None:
    grids = session.exec(select(Grid.id).order_by(col(Grid.id))).all()
    held = session.exec(select(Membership.grid_id).where(Membership.account_id == worker.id)).first()
    assert held is not None
    elsewhere = next(grid for grid in grids if grid[:9] != held[:9])
    office = accounts_of(session, Role.SUPERVISOR)[0]
    assert office is not None
    photo_id, content = new_id(), jpeg()
    receive_photo(session, photo_id=photo_id, owner_id=None, content=content, mime="image/jpeg", actor="test")

    everyone = [
        caller_of(worker),
        caller_of(office, territory=""),
        caller_of(office, territory=held[:6]),
        caller_of(office, territory=elsewhere[:9]),
        caller_of(office, role=Role.AUDITOR),
        caller_of(office, role=Role.SYSTEM_ADMIN),
        caller_of(office, role=Role.HANDLER),
    ]
    assert [sees(session, caller, photo_id) for caller in everyone] == [False] * 7
    add_record(session, held, entry(photo_id, content))
    assert [sees(session, caller, photo_id) for caller in everyone] == [True, True, True, False, False, False, False]


def test_a_worker_no_longer_sees_photos_of_a_lost_grid_or_a_deleted_record(session: Session, worker: Account) -> None:
    held = session.exec(select(Membership.grid_id).where(Membership.account_id == worker.id)).first()
    assert held is not None
    gone, kept, content = new_id(), new_id(), jpeg()
    for photo_id, deleted in ((gone, True), (kept, False)):
        receive_photo(session, photo_id=photo_id, owner_id=None, content=content, mime="image/jpeg", actor="test")
        add_record(session, held, entry(photo_id, content), deleted=deleted)
    with pytest.raises(NotFound):
        photo_view(session, caller_of(worker), photo_id=gone)
    assert photo_view(session, caller_of(worker), photo_id=kept)
    session.connection().execute(
        text("UPDATE membership SET ends_at = now() WHERE account_id = :id"), {"id": worker.id}
    )
    with pytest.raises(NotFound):
        photo_view(session, caller_of(worker), photo_id=kept)


def test_completeness_is_closed_to_an_author_who_lost_the_grid(session: Session, worker: Account) -> None:
    record = add_record(session, grid_of(session, worker), entry(new_id(), b"x"), owner=worker)
    assert record_completeness(session, caller_of(worker), source_type=SourceType.DOCUMENT, source_id=record)
    session.connection().execute(
        text("UPDATE membership SET ends_at = now() WHERE account_id = :id"), {"id": worker.id}
    )
    with pytest.raises(NotFound):
        record_completeness(session, caller_of(worker), source_type=SourceType.DOCUMENT, source_id=record)


@pytest.mark.parametrize(
    ("territory", "in_grid", "nowhere"), [("", True, True), ("4403", True, True), ("440310", True, False)]
)
def test_a_citizens_photo_from_outside_all_grids_is_the_citys_business(
    session: Session, territory: str, in_grid: bool, nowhere: bool
) -> None:
    caller, entries = office_of(session, territory), Entries(session)
    for grid, visible in ((case_grid(session), in_grid), (None, nowhere)):
        photo_id, report = new_id(), entries.report(grid_id=grid)
        session.add(PhotoLink(source_type=SourceType.REPORT, source_id=report.id, photo_id=photo_id))
        receive_photo(session, photo_id=photo_id, owner_id=None, content=jpeg(), mime="image/jpeg", actor="test")
        assert sees(session, caller, photo_id) is visible
        if visible:
            view = record_completeness(session, caller, source_type=SourceType.REPORT, source_id=report.id)
            assert (view.expected, view.received) == (1, 1)
        else:
            with pytest.raises(NotFound):
                record_completeness(session, caller, source_type=SourceType.REPORT, source_id=report.id)


def test_completeness_follows_the_current_manifest(session: Session, worker: Account) -> None:
    held = session.exec(select(Membership.grid_id).where(Membership.account_id == worker.id)).first()
    assert held is not None
    good, cut, missing, dropped = new_id(), new_id(), new_id(), new_id()
    for photo_id, content in ((good, jpeg()), (cut, jpeg()[:-9])):
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
        process(session, photo_id=str(photo_id))
    names = [entry(good, jpeg()), entry(cut, jpeg()[:-9]), entry(missing, b"x")]
    record = add_record(session, held, *names)
    link_photos(
        session,
        source_type=SourceType.DOCUMENT,
        owner_id=worker.id,
        links=[(record, [entry(dropped, b"named by an older version")])],
    )
    session.expire_all()
    view = record_completeness(session, caller_of(worker), source_type=SourceType.DOCUMENT, source_id=record)
    assert (view.expected, view.received, view.processed, view.failed, view.complete) == (3, 2, 1, 1, False)
    assert [photo.failure.code if photo.failure else photo.state.value for photo in view.photos] == [
        "processed",
        "photo_truncated",
        "expected",
    ]
    with pytest.raises(NotFound):
        record_completeness(session, caller_of(worker), source_type=SourceType.DOCUMENT, source_id=new_id())
