"""The judge of `make media-faults` sees what is lost, changed or left behind; else its figures would mean nothing."""

from sqlmodel import Session

from backend.core.db import engine_for
from backend.core.ids import new_id
from backend.models import Photo
from backend.services.objects import object_store
from bench.media_faults import identical_in_store, left_after_reaping
from media.partials import folder
from tests.api.media_client import UPLOADS, create, creation, partial_files, send
from tests.rooms.media_samples import digest, jpeg
from tests.world import World


def test_what_is_lost_changed_or_left_behind_is_seen(world: World) -> None:
    handheld, content, photo_id = world.handheld(), jpeg(), new_id()
    headers = {**creation(handheld, content, photo_id=photo_id), "Content-Type": "application/offset+octet-stream"}
    assert handheld.client.post(UPLOADS, content=content, headers=headers).status_code == 201
    sent = {photo_id: digest(content)}
    assert identical_in_store(sent) == 1
    assert identical_in_store({**sent, new_id(): digest(content)}) == 1, "one that never came"
    with Session(engine_for("zw_worker")) as session:
        key = session.get_one(Photo, photo_id).original_key
    assert key is not None
    object_store().put(key, content[:-1] + b"\0", mime="image/jpeg")
    assert identical_in_store(sent) == 0, "a byte is another"

    begun = create(handheld, content)
    send(handheld, begun, 0, content[:100])
    assert len(partial_files()) == 1
    assert left_after_reaping() == 0, "what nobody goes on with is removed"
    (folder() / "half-of-a-photo").write_bytes(content)
    assert left_after_reaping() == 1, "a file that the reaper does not know stays"
