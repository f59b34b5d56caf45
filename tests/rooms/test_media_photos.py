"""Photos between the rooms: named by a record, received whole, processed once, and seen by those who may."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Kind, PhotoState, Role, SourceType
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import (
    Account,
    AuditEntry,
    Derivative,
    Document,
    DocumentVersion,
    Grid,
    Job,
    Membership,
    Photo,
    PhotoLink,
    Upload,
)
from backend.services import erasure_photos, feed, file_removal, photos
from backend.services.objects import StoreUnavailable, object_store
from backend.services.photos import PhotoEmpty, PhotoIdTaken, PhotoTooLarge, link_photos, receive_photo
from backend.services.sealing import open_value
from backend.services.sessions import Caller
from media import tasks
from media.pictures import Picture
from media.sandbox import DecoderUnavailable, decoder
from media.service import photo_view, record_completeness
from media.tasks import OriginalDamaged, process
from tests.people import accounts_of, posting_of
from tests.rooms.case_builders import Entries
from tests.rooms.case_builders import grid_of as case_grid
from tests.rooms.media_samples import digest, jpeg


@pytest.fixture(autouse=True)
def state_dir(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    get_settings.cache_clear()
    yield tmp_path / "state"
    get_settings.cache_clear()


@pytest.fixture
def worker(session: Session) -> Account:
    return accounts_of(session, Role.GRID_WORKER)[0]


@pytest.fixture
def other(session: Session, worker: Account) -> Account:
    """A worker of other grids."""
    workers = accounts_of(session, Role.GRID_WORKER)
    return next(account for account in workers if grid_of(session, account) != grid_of(session, worker))


def grid_of(session: Session, account: Account) -> str:
    query = select(Membership.grid_id).where(Membership.account_id == account.id).order_by(col(Membership.grid_id))
    return session.exec(query).first() or ""


def office_of(session: Session, territory: str) -> Caller:
    account = accounts_of(session, Role.SUPERVISOR)[0]
    return caller_of(account, territory=territory)


def sees(session: Session, caller: Caller, photo_id: UUID, content: bytes | None = None) -> bool:
    """Whether the caller is shown this picture by this id, and not one of his own."""
    session.expire_all()
    try:
        return photo_view(session, caller, photo_id=photo_id).sha256 == digest(content or jpeg())
    except NotFound:
        return False


def caller_of(account: Account, *, role: Role | None = None, territory: str = "") -> Caller:
    return Caller(account.id, role or posting_of(account).role, None, territory, None)


def entry(photo_id: UUID, content: bytes) -> dict[str, object]:
    return {"photo_id": str(photo_id), "sha256": digest(content), "size": len(content), "mime": "image/jpeg"}


def add_record(
    session: Session, grid_id: str, *manifest: dict[str, object], deleted: bool = False, owner: Account | None = None
) -> UUID:
    """A first version of an event, as the sync room writes it for a push of the owner's."""
    moment = now()
    record = Document(
        id=new_id(),
        kind=Kind.EVENT,
        grid_id=grid_id,
        version=1,
        op=new_id(),
        deleted=deleted,
        body={"grid_id": grid_id, "photos": list(manifest)},
        account_id=owner.id if owner else None,
        created_at=moment,
        updated_at=moment,
    )
    session.add(record)
    session.flush()
    session.add(
        DocumentVersion(
            document_id=record.id,
            version=1,
            op=record.op,
            grid_id=grid_id,
            deleted=deleted,
            body=record.body,
            created_at=moment,
        )
    )
    session.flush()
    owner_id = owner.id if owner else None
    link_photos(session, source_type=SourceType.DOCUMENT, owner_id=owner_id, links=[(record.id, manifest)])
    feed.touch(session, [(grid_id, record.id, record.kind)])
    return record.id


def state_of(session: Session, photo_id: UUID) -> PhotoState | None:
    session.expire_all()
    photo = session.get(Photo, photo_id)
    return photo.state if photo else None


def audit_of(session: Session, object_id: UUID) -> list[tuple[str, str]]:
    rows = session.exec(select(AuditEntry).where(AuditEntry.object_id == str(object_id)).order_by(col(AuditEntry.id)))
    return [(row.action, row.actor) for row in rows]


def test_a_received_photo_is_stored_recorded_and_sent_on(session: Session, worker: Account) -> None:
    photo_id, content = new_id(), jpeg()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    photo = session.get_one(Photo, photo_id)
    assert (photo.state, photo.sha256, photo.size) == (PhotoState.RECEIVED, digest(content), len(content))
    assert photo.original_key is not None
    assert object_store().get(photo.original_key) == content
    assert session.exec(select(Job.payload).where(Job.key == str(photo_id))).one() == {"photo_id": str(photo_id)}
    assert audit_of(session, photo_id) == [("photo.received", str(worker.id))]


def test_equal_bytes_again_change_nothing_and_other_bytes_are_refused(session: Session, worker: Account) -> None:
    photo_id, content = new_id(), jpeg()
    for _ in range(2):
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    assert len(audit_of(session, photo_id)) == 1
    with pytest.raises(PhotoIdTaken):
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=jpeg(99, 99), mime="image/jpeg")
    assert object_store().get(session.get_one(Photo, photo_id).original_key or "") == content


def test_two_photos_with_equal_bytes_are_two_photos(session: Session, worker: Account) -> None:
    first, second, content = new_id(), new_id(), jpeg()
    for photo_id in (first, second):
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    assert state_of(session, first) is state_of(session, second) is PhotoState.RECEIVED


@pytest.mark.parametrize("thief_names", [True, False])
@pytest.mark.parametrize("owner_names_first", [True, False])
def test_who_uses_the_id_of_another_ones_photo_neither_blocks_nor_replaces_it(
    session: Session, worker: Account, other: Account, thief_names: bool, owner_names_first: bool
) -> None:
    """Somebody has heard a photo's id and is there before it. He gets a photo of his own; the owner's comes whole."""
    photo_id, content, false = new_id(), jpeg(), jpeg(99, 99)

    def steal() -> None:
        if thief_names:
            add_record(session, grid_of(session, other), entry(photo_id, false), owner=other)
        receive_photo(session, photo_id=photo_id, owner_id=other.id, content=false, mime="image/jpeg")

    if not owner_names_first:
        steal()
    record = add_record(session, grid_of(session, worker), entry(photo_id, content), owner=worker)
    if owner_names_first:
        steal()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    office = office_of(session, grid_of(session, worker))
    assert sees(session, caller_of(worker), photo_id, content)
    assert sees(session, caller_of(other), photo_id, false)
    assert sees(session, office, photo_id, content)
    shown = record_completeness(session, office, source_type=SourceType.DOCUMENT, source_id=record)
    assert (shown.received, shown.complete) == (1, True)
    assert shown.photos[0].href is not None
    assert sees(session, office, UUID(shown.photos[0].href.rsplit("/", 1)[1]), content)
    kept = session.exec(select(Photo.original_key, Photo.sha256).where(Photo.taken_as == photo_id)).all()
    assert {sha256: digest(object_store().get(key or "")) for key, sha256 in kept} == {
        digest(one): digest(one) for one in (content, false)
    }
    assert len(session.exec(select(Job).where(Job.name == photos.PROCESS_JOB)).all()) == 2


def test_the_same_bytes_from_another_account_are_safe_here_and_give_no_access(
    session: Session, worker: Account, other: Account
) -> None:
    """A handheld that lost the last answer is handed on, and its next account sends the photo again."""
    photo_id = new_id()
    for owner in (worker, other):
        receive_photo(session, photo_id=photo_id, owner_id=owner.id, content=jpeg(), mime="image/jpeg")
    assert session.get_one(Photo, photo_id).owner_id == worker.id
    assert not sees(session, caller_of(other), photo_id)


def test_an_expected_photo_follows_whoever_brings_its_bytes(session: Session, worker: Account, other: Account) -> None:
    """The record was pushed before the handheld was handed on, its photo comes after."""
    photo_id, content = new_id(), jpeg()
    add_record(session, grid_of(session, worker), entry(photo_id, content), owner=worker)
    receive_photo(session, photo_id=photo_id, owner_id=other.id, content=content, mime="image/jpeg")
    assert state_of(session, photo_id) is PhotoState.RECEIVED
    assert sees(session, caller_of(worker), photo_id)
    assert sees(session, caller_of(other), photo_id)


def test_naming_a_photo_that_is_to_come_neither_keeps_it_out_nor_shows_it(
    session: Session, worker: Account, other: Account
) -> None:
    photo_id, content = new_id(), jpeg()
    add_record(session, grid_of(session, other), entry(photo_id, b"a guess"), owner=other)
    add_record(session, grid_of(session, worker), entry(photo_id, content), owner=worker)
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    session.expire_all()
    query = select(Photo.owner_id, Photo.size).where(Photo.taken_as == photo_id, Photo.sha256 == digest(content))
    assert session.exec(query).one() == (worker.id, len(content))
    assert not sees(session, caller_of(other), photo_id)
    assert sees(session, office_of(session, grid_of(session, worker)), photo_id)
    assert not sees(session, office_of(session, grid_of(session, other)), photo_id)


@pytest.mark.parametrize("expected_first", [True, False])
@pytest.mark.parametrize("sha256", ["0" * 64, None])
def test_naming_a_photo_of_another_worker_gives_no_access(
    session: Session, worker: Account, other: Account, expected_first: bool, sha256: str | None
) -> None:
    photo_id, content = new_id(), jpeg()
    named = entry(photo_id, content)
    if not expected_first:
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    add_record(session, grid_of(session, worker), named, owner=worker)
    if expected_first and sha256 is None:
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    foreign = add_record(session, grid_of(session, other), {**named, "sha256": sha256 or named["sha256"]}, owner=other)
    assert not sees(session, caller_of(other), photo_id)
    if state_of(session, photo_id) is PhotoState.EXPECTED:
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    process(session, photo_id=str(photo_id))
    assert not sees(session, caller_of(other), photo_id)
    assert sees(session, office_of(session, grid_of(session, worker)), photo_id)
    view = record_completeness(session, caller_of(other), source_type=SourceType.DOCUMENT, source_id=foreign)
    assert (view.expected, view.received) == (1, 0)


def test_a_record_pushed_by_another_account_shows_photos_that_came_before_it(
    session: Session, worker: Account, other: Account
) -> None:
    """Only the handheld that took a photo no record names yet can know its hash."""
    photo_id, content = new_id(), jpeg()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    add_record(session, grid_of(session, other), entry(photo_id, content), owner=other)
    assert sees(session, caller_of(other), photo_id)


def test_a_record_shows_its_photos_still_when_another_worker_has_edited_it(
    session: Session, worker: Account, other: Account
) -> None:
    photo_id, content = new_id(), jpeg()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content, mime="image/jpeg")
    record = add_record(session, grid_of(session, other), entry(photo_id, content), owner=worker)
    named = [entry(photo_id, content)]
    link_photos(session, source_type=SourceType.DOCUMENT, owner_id=other.id, links=[(record, named)])
    assert sees(session, caller_of(other), photo_id)
    document = session.get_one(Document, record)
    document.body = {**document.body, "photos": []}
    session.flush()
    assert sees(session, caller_of(other), photo_id)


def test_nothing_and_too_much_are_refused(session: Session, worker: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PhotoEmpty):
        receive_photo(session, photo_id=new_id(), owner_id=worker.id, content=b"", mime="image/jpeg")
    monkeypatch.setenv("MAX_PHOTO_BYTES", "2000")
    get_settings.cache_clear()
    with pytest.raises(PhotoTooLarge):
        receive_photo(session, photo_id=new_id(), owner_id=worker.id, content=bytes(2001), mime="image/jpeg")


def test_an_original_without_a_row_goes_with_the_upload_that_brought_it(session: Session, worker: Account) -> None:
    """What a failed transaction left in the store; a photo that came another way keeps its original."""
    content, moment = jpeg(), now()
    lost, kept = new_id(), new_id()
    receive_photo(session, photo_id=kept, owner_id=worker.id, content=content, mime="image/jpeg")
    keys = [photos.original_key(photo_id, digest(content)) for photo_id in (lost, kept)]
    object_store().put(keys[0], content)
    for photo_id in (lost, kept):
        declared = {"sha256": digest(content), "mime": "image/jpeg"}
        upload = Upload(photo_id=photo_id, owner_id=worker.id, length=9, declared=declared, created_at=moment)
        upload.expires_at = moment
        session.add(upload)
    session.flush()
    assert erasure_photos.drop_expired_uploads(session, before=moment + timedelta(seconds=1), limit=9) == 2
    waiting = session.exec(select(Job.payload).where(Job.name == file_removal.JOB)).one()
    file_removal.remove(session, keys=waiting["keys"])
    assert [key for key, _ in object_store().entries()] == [keys[1]]


def test_a_race_for_one_id_keeps_the_first_ones_bytes(
    session: Session, worker: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second upload passes the early check, and finds the other's row only when it writes its own."""
    received, expected, content, other = new_id(), new_id(), jpeg(), jpeg(99, 99)
    receive_photo(session, photo_id=received, owner_id=worker.id, content=content, mime="image/jpeg")
    links = [(new_id(), [entry(expected, content)])]
    link_photos(session, source_type=SourceType.DOCUMENT, owner_id=worker.id, links=links)
    real = photos.check_photo
    for photo_id in (received, expected):
        answers = [False]

        def blind_once(*args: Any, answers: list[bool] = answers, **kwargs: Any) -> bool:
            return answers.pop() if answers else real(*args, **kwargs)

        monkeypatch.setattr(photos, "check_photo", blind_once)
        with pytest.raises(PhotoIdTaken):
            receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=other, mime="image/jpeg")
    assert object_store().get(session.get_one(Photo, received).original_key or "") == content
    assert state_of(session, expected) is PhotoState.EXPECTED


def test_a_manifest_makes_photos_expected_and_never_touches_received_ones(session: Session, worker: Account) -> None:
    here, later, content = new_id(), new_id(), jpeg()
    receive_photo(session, photo_id=here, owner_id=worker.id, content=content, mime="image/jpeg")
    source = new_id()
    links = [(source, [{**entry(here, content), "sha256": "0" * 64}, entry(later, content)])]
    for _ in range(2):
        link_photos(session, source_type=SourceType.DOCUMENT, owner_id=worker.id, links=links)
    assert state_of(session, here) is PhotoState.RECEIVED
    assert session.get_one(Photo, here).sha256 == digest(content)
    assert state_of(session, later) is PhotoState.EXPECTED
    linked = session.exec(select(PhotoLink.photo_id).where(PhotoLink.source_id == source)).all()
    assert set(linked) == {here, later}
    receive_photo(session, photo_id=later, owner_id=worker.id, content=content, mime="image/jpeg")
    assert state_of(session, later) is PhotoState.RECEIVED


def test_an_expected_photo_follows_a_later_manifest_of_its_owner_only(session: Session, worker: Account) -> None:
    photo_id = new_id()

    def name(content: bytes, owner: UUID | None) -> str:
        manifest = [entry(photo_id, content)]
        link_photos(session, source_type=SourceType.DOCUMENT, owner_id=owner, links=[(new_id(), manifest)])
        session.expire_all()
        return session.get_one(Photo, photo_id).sha256

    assert name(b"first", worker.id) == digest(b"first")
    assert name(b"second", worker.id) == digest(b"second")
    assert name(b"stranger", None) == digest(b"second")


def test_one_photo_named_by_many_records_of_a_batch_is_linked_to_each(session: Session, worker: Account) -> None:
    photo_id, sources = new_id(), [new_id(), new_id(), new_id()]
    links = [(source, [entry(photo_id, b"x"), entry(photo_id, b"x")]) for source in sources]
    link_photos(session, source_type=SourceType.DOCUMENT, owner_id=worker.id, links=links)
    assert set(session.exec(select(PhotoLink.source_id).where(PhotoLink.photo_id == photo_id))) == set(sources)


def test_the_job_makes_copies_and_seals_the_claims(session: Session, worker: Account) -> None:
    photo_id = new_id()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=jpeg(2000, 1000), mime="image/png")
    for _ in range(2):
        process(session, photo_id=str(photo_id))
    session.expire_all()
    photo = session.get_one(Photo, photo_id)
    assert (photo.state, photo.width, photo.height, photo.mime) == (PhotoState.PROCESSED, 2000, 1000, "image/jpeg")
    assert photo.taken_at is not None
    assert photo.taken_at.isoformat() == "2026-03-02T01:12:45+00:00"
    claims = open_value(session, photo.claims, context=photo_id.bytes)
    assert (claims["lat"], claims["lon"], claims["datum"]) == (225433333, 1140500000, "wgs84")
    copies = session.exec(select(Derivative).where(Derivative.photo_id == photo_id)).all()
    assert sorted(copy.variant for copy in copies) == ["large", "large.webp", "thumb", "thumb.webp"]
    for copy in copies:
        assert digest(object_store().get(copy.storage_key)) == copy.sha256
    assert audit_of(session, photo_id) == [("photo.received", str(worker.id)), ("photo.processed", "media.process")]


def test_a_job_that_runs_twice_at_once_has_one_effect(
    session: Session, worker: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_id, real = new_id(), decoder
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=jpeg(), mime="image/jpeg")

    class Twin:
        """While one run decodes, another one comes and goes."""

        def decode(self, content: bytes) -> Picture:
            monkeypatch.setattr(tasks, "decoder", real)
            process(session, photo_id=str(photo_id))
            return real().decode(content)

    monkeypatch.setattr(tasks, "decoder", Twin)
    process(session, photo_id=str(photo_id))
    assert [action for action, _ in audit_of(session, photo_id)] == ["photo.received", "photo.processed"]


def test_a_photo_that_is_through_is_not_decoded_again(
    session: Session, worker: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_id = new_id()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=jpeg(), mime="image/jpeg")
    process(session, photo_id=str(photo_id))
    session.expire_all()
    monkeypatch.delattr(tasks, "decoder")
    process(session, photo_id=str(photo_id))


def test_a_cut_photo_fails_with_its_code_once(session: Session, worker: Account) -> None:
    photo_id, content = new_id(), jpeg()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=content[:-100], mime="image/jpeg")
    for _ in range(2):
        process(session, photo_id=str(photo_id))
    session.expire_all()
    photo = session.get_one(Photo, photo_id)
    assert (photo.state, photo.failure) == (PhotoState.FAILED, "photo_truncated")
    assert audit_of(session, photo_id)[1:] == [("photo.failed", "media.process")]
    view = photo_view(session, caller_of(worker), photo_id=photo_id)
    assert view.failure is not None
    assert "照片不完整" in view.failure.text_zh
    assert view.received


def test_an_unknown_photo_is_discarded(session: Session) -> None:
    with pytest.raises(jobs.Discard, match="photo_unknown"):
        process(session, photo_id=str(new_id()))


def test_a_fault_of_ours_is_no_verdict(
    session: Session, worker: Account, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_id = new_id()
    receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=jpeg(), mime="image/jpeg")
    key = session.get_one(Photo, photo_id).original_key or ""

    class Away:
        def decode(self, _: bytes) -> None:
            raise DecoderUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "decoder", Away)
        with pytest.raises(DecoderUnavailable):
            process(session, photo_id=str(photo_id))
    (state_dir / "media" / key).write_bytes(jpeg(77, 77))
    with pytest.raises(OriginalDamaged):
        process(session, photo_id=str(photo_id))
    shutil.rmtree(state_dir / "media")
    with pytest.raises(StoreUnavailable):
        process(session, photo_id=str(photo_id))
    assert state_of(session, photo_id) is PhotoState.RECEIVED


def test_a_store_that_is_away_keeps_the_photo_unreceived(session: Session, worker: Account, state_dir: Path) -> None:
    photo_id = new_id()
    object_store()
    shutil.rmtree(state_dir / "media")
    (state_dir / "media").write_bytes(b"a file where the folder should be")
    with pytest.raises(StoreUnavailable):
        receive_photo(session, photo_id=photo_id, owner_id=worker.id, content=jpeg(), mime="image/jpeg")
    assert state_of(session, photo_id) is None


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
