"""The job of a photo: copies made once, claims sealed, a verdict on what cannot be used."""

import shutil
from pathlib import Path

import pytest
from sqlmodel import Session, select

from backend import jobs
from backend.core.enums import PhotoState
from backend.core.ids import new_id
from backend.models import (
    Account,
    Derivative,
    Photo,
)
from backend.services.objects import StoreUnavailable, object_store
from backend.services.photos import receive_photo
from backend.services.sealing import open_value
from media import tasks
from media.pictures import Picture
from media.sandbox import DecoderUnavailable, decoder
from media.service import photo_view
from media.tasks import OriginalDamaged, process
from tests.rooms.media_samples import digest, jpeg
from tests.rooms.photo_builders import (
    audit_of,
    caller_of,
    state_of,
)

pytestmark = pytest.mark.usefixtures("state_dir")


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
