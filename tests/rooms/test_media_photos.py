"""Photos between the rooms: named by a record, and received whole."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import PhotoState, SourceType
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import (
    Account,
    Document,
    Job,
    Photo,
    PhotoLink,
    Upload,
)
from backend.services import erasure_photos, file_removal, photos
from backend.services.objects import object_store
from backend.services.photos import PhotoEmpty, PhotoIdTaken, PhotoTooLarge, link_photos, receive_photo
from media.service import record_completeness
from media.tasks import process
from tests.rooms.media_samples import digest, jpeg
from tests.rooms.photo_builders import add_record, audit_of, caller_of, entry, grid_of, office_of, sees, state_of

pytestmark = pytest.mark.usefixtures("state_dir")


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
