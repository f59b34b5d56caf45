"""Photos beside their entries: twins found over handhelds and WeChat, the score kept, a copy for case files stamped."""

from datetime import timedelta
from io import BytesIO
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import Role, SourceType
from backend.core.ids import new_id
from backend.models import Account, Derivative, Document, Job, Photo, PhotoEvidence, PhotoPrint, PhotoRuleSet
from backend.services import erasure_photos
from backend.services.objects import object_store
from backend.services.photos import ASSESS_JOB, link_photos, receive_photo
from bench.media_pictures import photo as photographed
from bench.media_pictures import scene
from media.evidence.rules import Code
from media.tasks import assess, process
from tests.people import accounts_of
from tests.rooms.case_builders import Entries
from tests.rooms.media_samples import digest, jpeg
from workflows.cases.considering import consider

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def people(session: Session) -> list[Account]:
    return accounts_of(session, Role.GRID_WORKER)


def picture(number: int, *, width: int = 640, quality: int | None = None) -> bytes:
    image = scene(number, 640, 480).resize((width, width * 3 // 4))
    if quality is None:
        return photographed(image)
    out = BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def received(session: Session, owner: UUID | None, content: bytes) -> UUID:
    """A photo that came and was processed."""
    photo_id = new_id()
    receive_photo(session, photo_id=photo_id, owner_id=owner, content=content, mime="image/jpeg")
    process(session, photo_id=str(photo_id))
    return photo_id


def named(session: Session, owner: Account, photo_id: UUID, content: bytes) -> Document:
    """An event of the owner's that names the photo."""
    event = Entries(session).event(collector=owner.id)
    entry = {"photo_id": str(photo_id), "sha256": digest(content), "size": len(content), "mime": "image/jpeg"}
    link_photos(session, source_type=SourceType.DOCUMENT, owner_id=owner.id, links=[(event.id, [entry])])
    return event


def evidence(session: Session, photo_id: UUID, source_id: UUID) -> PhotoEvidence:
    session.expire_all()
    return session.get_one(PhotoEvidence, (photo_id, SourceType.DOCUMENT, source_id))


def reasons(found: PhotoEvidence) -> dict[str, dict[str, object]]:
    return {reason["code"]: reason["measured"] for reason in found.reasons}


def asked(session: Session, photo_id: UUID) -> int:
    query = select(Job).where(Job.name == ASSESS_JOB, col(Job.key).startswith(str(photo_id)))
    return len(session.exec(query).all())


def test_a_photo_is_assessed_against_the_entry_that_names_it(session: Session, people: list[Account]) -> None:
    content = jpeg()
    photo_id = received(session, people[0].id, content)
    assert asked(session, photo_id) == 1
    event = named(session, people[0], photo_id, content)
    assert asked(session, photo_id) == 2
    for _ in range(2):
        assess(session, photo_id=str(photo_id))
    found = evidence(session, photo_id, event.id)
    assert set(reasons(found)) == {Code.TIME_EARLIER, Code.PLACE_FAR, Code.PLACE_OUT_OF_GRID}
    assert (found.score, found.source_version, found.rule_version) == (0, 1, 1)


def test_a_photo_taken_then_and_there_bears_its_entry_out(session: Session, people: list[Account]) -> None:
    content = picture(1)
    photo_id = received(session, people[0].id, content)
    event = named(session, people[0], photo_id, content)
    session.get_one(Photo, photo_id).taken_at = now() - timedelta(minutes=3)
    session.flush()
    assess(session, photo_id=str(photo_id))
    found = evidence(session, photo_id, event.id)
    assert set(reasons(found)) == {Code.TIME_FITS, Code.PLACE_MISSING}
    assert found.score == 90


def test_an_older_photo_of_another_handheld_is_known_again(session: Session, people: list[Account]) -> None:
    first, second = picture(1), picture(1, width=480, quality=60)
    old = received(session, people[0].id, first)
    older = named(session, people[0], old, first)
    other = received(session, people[1].id, picture(2))
    named(session, people[1], other, picture(2))
    again = received(session, people[1].id, second)
    event = named(session, people[1], again, second)
    assess(session, photo_id=str(again))
    twin = reasons(evidence(session, again, event.id))[Code.REUSED_NEAR]
    assert (twin["photo_id"], twin["source_id"], twin["by_another"]) == (str(old), str(older.id), True)
    assess(session, photo_id=str(old))
    assert Code.REUSED_NEAR not in reasons(evidence(session, old, older.id)), "the older photo is no copy"


def test_the_very_bytes_of_a_citizens_photo_are_known_again(session: Session, people: list[Account]) -> None:
    content = Image.new("RGB", (64, 48), (90, 90, 90))
    out = BytesIO()
    content.save(out, "JPEG")
    old = received(session, None, out.getvalue())
    report = Entries(session).report()
    session.connection().execute(
        text("INSERT INTO photo_link (source_type, source_id, photo_id) VALUES ('report', :source, :photo)"),
        {"source": report.id, "photo": old},
    )
    again = received(session, people[0].id, out.getvalue())
    event = named(session, people[0], again, out.getvalue())
    assess(session, photo_id=str(again))
    found = reasons(evidence(session, again, event.id))
    assert Code.LITTLE_DETAIL in found
    assert found[Code.REUSED_SAME]["source_type"] == "report"


def test_an_older_photo_that_comes_through_late_has_the_younger_one_assessed_again(
    session: Session, people: list[Account]
) -> None:
    first, second = picture(1), picture(1, width=480)
    old, young = new_id(), new_id()
    receive_photo(session, photo_id=old, owner_id=people[0].id, content=first, mime="image/jpeg")
    receive_photo(session, photo_id=young, owner_id=people[1].id, content=second, mime="image/jpeg")
    named(session, people[0], old, first)
    event = named(session, people[1], young, second)
    process(session, photo_id=str(young))
    assess(session, photo_id=str(young))
    assert Code.REUSED_NEAR not in reasons(evidence(session, young, event.id))
    process(session, photo_id=str(old))
    before = asked(session, young)
    assess(session, photo_id=str(old))
    assert asked(session, young) == before + 1
    assess(session, photo_id=str(young))
    assert Code.REUSED_NEAR in reasons(evidence(session, young, event.id))


def test_the_search_uses_its_index(session: Session, people: list[Account]) -> None:
    from media.evidence import bands
    from media.evidence.service import _ALIKE

    run = session.connection().execute
    photo_id = received(session, people[0].id, picture(1))
    bits = session.get_one(PhotoPrint, photo_id).bits
    run(text("SET LOCAL enable_seqscan = off"))
    run(text("SET LOCAL enable_indexscan = off"))
    values = {"bits": bits, "probes": bands.probes(int(bits, 2).to_bytes(32)), "near": 31, "sha256": "0" * 64}
    plan = "\n".join(run(text(f"EXPLAIN {_ALIKE}"), values).scalars())
    assert "ix_photo_print_keys" in plan
    assert run(text(_ALIKE), values).all() == [(photo_id, 0)]


def test_without_a_rule_set_photos_are_processed_and_not_assessed(session: Session, people: list[Account]) -> None:
    session.get_one(PhotoRuleSet, 1).active = False
    session.flush()
    photo_id = received(session, people[0].id, picture(1))
    assert session.get_one(Photo, photo_id).placeholder
    with pytest.raises(jobs.Discard, match="no_photo_rules"):
        assess(session, photo_id=str(photo_id))


def test_a_photo_of_a_case_gets_a_stamped_copy_once(session: Session, people: list[Account]) -> None:
    content = jpeg(1600, 1200)
    photo_id = received(session, people[0].id, content)
    event = named(session, people[0], photo_id, content)
    assess(session, photo_id=str(photo_id))
    assert session.get(Derivative, (photo_id, "stamped")) is None
    consider(session, verdict_id=Entries(session).verdict(event).id)
    assert asked(session, photo_id) == 3
    for _ in range(2):
        assess(session, photo_id=str(photo_id))
    stamped = session.get_one(Derivative, (photo_id, "stamped"))
    with Image.open(BytesIO(object_store().get(stamped.storage_key))) as image:
        assert image.size == (1600, 1200)
        histogram = image.convert("L").crop((0, 1130, 1600, 1200)).histogram()
    assert sum(histogram[240:]) > 500, "letters"
    assert sum(histogram[:120]) > 1600 * 70 / 2, "on a dark band"


def test_what_is_known_of_an_erased_photo_goes_with_it(session: Session, people: list[Account]) -> None:
    content = picture(1)
    photo_id = received(session, people[0].id, content)
    event = named(session, people[0], photo_id, content)
    assess(session, photo_id=str(photo_id))
    counts = erasure_photos.forget(session, source_type=SourceType.DOCUMENT, source_ids=[event.id])
    assert (counts["photo_print"], counts["photo_evidence"], counts["photo"]) == (1, 1, 1)
    assert session.exec(select(PhotoPrint).where(PhotoPrint.photo_id == photo_id)).first() is None
