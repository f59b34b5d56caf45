"""A new master key takes over in the background, and keys that do not fit the database are refused at the start."""

import csv
import io
from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session, col, select
from typer.testing import CliRunner

from backend.cli import app as command_line
from backend.core.clock import now
from backend.core.crypto import key_ring, new_secret, version_of
from backend.core.db import engine_for, transaction
from backend.core.enums import ImportState, Kind, QuarantineCode, QuarantineState
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.main import create_app
from backend.models import AuditEntry, Job, Quarantine, Snapshot, SubjectKey, WechatMessage
from backend.services import key_rotation, key_use, registry, sealing
from backend.services.objects import object_store
from backend.services.quarantined import open_all
from backend.services.registry_files import LENGTH_BYTES
from backend.services.registry_rejects import rejects_context
from tests.world import World
from workflows.channels.messages import raw_of

Use = Callable[..., None]
SUBJECTS = [bytes([number]) * 16 for number in range(1, 8)]


@pytest.fixture
def use(database: str, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Go on with other settings, as after a restart."""

    def restart(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        for cached in (get_settings, key_ring):
            cached.cache_clear()

    return restart


@pytest.fixture
def first() -> str:
    """The master key that everything was sealed with."""
    return get_settings().master_keys.get_secret_value()


def versions() -> list[int]:
    with Session(engine_for("zw_worker")) as session:
        rows = session.exec(select(SubjectKey.wrapped).order_by(col(SubjectKey.subject_id))).all()
        return [version_of(wrapped[0]) for wrapped in rows]


def seal_seven(use: Use) -> list[bytes]:
    """Seven subjects, every other one with SM4."""
    blobs = []
    for number, subject in enumerate(SUBJECTS):
        use(CIPHER=("aes-siv", "sm4-gcm")[number % 2])
        with transaction(engine_for("zw_worker")) as session:
            blobs.append(sealing.seal_value(session, subject, f"绝密{number}", context=subject))
    use(CIPHER="aes-siv")
    return blobs


def opened(blobs: list[bytes]) -> list[str]:
    with Session(engine_for("zw_worker")) as session:
        return [sealing.open_value(session, blob, context=s) for s, blob in zip(SUBJECTS, blobs, strict=True)]


def ask() -> None:
    with transaction(engine_for("zw_worker")) as session:
        key_rotation.request_rotation(session, actor="test")


def test_all_keys_come_under_the_new_master_batch_by_batch(
    use: Use, first: str, drain: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = seal_seven(use)
    assert versions() == [1] * 7
    second = f"2:{new_secret()}"
    use(MASTER_KEYS=f"{first},{second}")
    monkeypatch.setattr(key_rotation, "KEYS_A_BATCH", 3)
    ask()
    assert drain() == 3 + 3, "three batches of keys, and the three other stages"
    assert versions() == [2] * 7
    use(MASTER_KEYS=second)
    with Session(engine_for("zw_worker")) as session:
        key_use.check_keys(session)
        moved = session.exec(select(AuditEntry.detail).where(AuditEntry.action == "keys_rotated")).all()
    assert opened(blobs) == [f"绝密{number}" for number in range(7)]
    assert [detail["rewritten"] for detail in moved] == [3, 3, 1]


def test_a_rotation_that_broke_off_goes_on_and_a_batch_run_twice_changes_nothing(
    use: Use, first: str, drain: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = seal_seven(use)
    use(MASTER_KEYS=f"{first},2:{new_secret()}")
    monkeypatch.setattr(key_rotation, "KEYS_A_BATCH", 3)
    batch = {"version": 2, "run": "r", "stage": "keys", "after": ""}
    with Session(engine_for("zw_worker")) as session:
        key_rotation.rotate(session, **batch)  # type: ignore[arg-type]
        session.rollback()
    assert versions() == [1] * 7
    for _ in range(2):
        with transaction(engine_for("zw_worker")) as session:
            key_rotation.rotate(session, **batch)  # type: ignore[arg-type]
    # The second run found the next three: nothing was done twice, and its follower is the same job or a later one.
    assert versions() == [2] * 6 + [1]
    drain()
    assert versions() == [2] * 7
    assert opened(blobs) == [f"绝密{number}" for number in range(7)]


def test_a_key_that_does_not_open_holds_nobody_up(use: Use, first: str, drain: Callable[[], int]) -> None:
    blobs = seal_seven(use)
    with transaction(engine_for("zw_worker")) as session:
        broken = text("UPDATE subject_key SET wrapped = wrapped || '\\x00' WHERE subject_id = :subject")
        session.connection().execute(broken, {"subject": SUBJECTS[2]})
    use(MASTER_KEYS=f"{first},2:{new_secret()}")
    ask()
    drain()
    assert versions() == [2, 2, 1, 2, 2, 2, 2]
    with Session(engine_for("zw_worker")) as session:
        [detail] = session.exec(select(AuditEntry.detail).where(AuditEntry.action == "keys_rotated")).all()
        assert (detail["rewritten"], detail["unreadable"]) == (6, 1)
    assert len(blobs) == 7


def test_a_worker_without_the_new_master_leaves_the_job_to_others(
    use: Use, first: str, drain: Callable[[], int]
) -> None:
    seal_seven(use)
    use(MASTER_KEYS=f"{first},2:{new_secret()}")
    ask()
    use(MASTER_KEYS=first)
    drain()
    assert versions() == [1] * 7
    with Session(engine_for("zw_worker")) as session:
        [job] = session.exec(select(Job).where(Job.name == key_rotation.ROTATE_JOB)).all()
        assert (job.state, job.reason) == ("ready", "master_key_missing")


def old_quarantined(world: World) -> UUID:
    """A quarantined house as release 0.1.0 kept it, with an owner who has an identity."""
    device = world.handheld()
    device.push_rows("house", [{"newDocumentState": {"id": "no id at all"}}])
    owner = {"name": "绝密甲", "id_type": "citizen_id", "id_number": "1"}
    content = msgspec.json.encode({"newDocumentState": {"address": "合成路", "owner": owner}})
    with transaction(engine_for("zw_worker")) as session:
        row = session.exec(select(Quarantine)).one()
        row.payload = key_ring().seal_system(content, context=b"quarantine")
        row.kind, row.code, row.state = Kind.HOUSE, QuarantineCode.INVALID, QuarantineState.OPEN
        session.add(row)
        return row.id


def old_message() -> UUID:
    message_id, moment = new_id(), now()
    with transaction(engine_for("zw_worker")) as session:
        raw = key_ring().seal_system("<xml>绝密乙</xml>".encode(), context=message_id.bytes)
        message = WechatMessage(id=message_id, message_key=b"k", sender_index=SUBJECTS[0], raw=raw, sent_at=moment)
        message.received_at = moment
        session.add(message)
    return message_id


def old_rejects() -> UUID:
    """A reject file as release 0.1.0 wrote it: one frame under the ring."""
    snapshot_id = new_id()
    context = rejects_context(snapshot_id) + (0).to_bytes(8) + b"last"
    frame = key_ring().seal_system("行号\r\n绝密丙\r\n".encode(), context=context)
    key = f"rejects/{snapshot_id}"
    object_store().put(key, len(frame).to_bytes(LENGTH_BYTES) + frame)
    with transaction(engine_for("zw_worker")) as session:
        session.add(
            Snapshot(
                id=snapshot_id,
                dataset_code="population",
                taken_at=now(),
                state=ImportState.FAILED,
                reject_key=key,
                sha256="0" * 64,
            )
        )
    return snapshot_id


def test_what_the_first_release_sealed_under_the_ring_comes_under_subjects(
    world: World, use: Use, first: str, drain: Callable[[], int]
) -> None:
    drain()
    held, message_id, snapshot_id = old_quarantined(world), old_message(), old_rejects()
    second = f"2:{new_secret()}"
    use(MASTER_KEYS=f"{first},{second}")
    with Session(engine_for("zw_worker")) as session:
        assert key_use.versions_in_use(session) == {1}
        before = open_all(session, {held: session.get_one(Quarantine, held).payload})
    ask()
    drain()
    use(MASTER_KEYS=second)
    with transaction(engine_for("zw_worker")) as session:
        assert key_use.versions_in_use(session) == {2}
        assert key_use.old_reject_files(session) == 0
        payload = session.get_one(Quarantine, held).payload
        assert open_all(session, {held: payload}) == before
        assert sealing.human("citizen_id", "1") in sealing.subjects_in([payload]), "the owner is a subject of it"
        message = session.get_one(WechatMessage, message_id)
        assert raw_of(session, message).decode() == "<xml>绝密乙</xml>"
        assert sealing.subjects_in([message.raw]) == {SUBJECTS[0]}
        rejects = b"".join(registry.rejects_of(session, snapshot_id, actor="test")).decode("utf-8-sig")
        assert list(csv.reader(io.StringIO(rejects))) == [["行号"], ["绝密丙"]]


def test_a_master_that_is_still_needed_can_not_be_taken_away(use: Use, first: str) -> None:
    seal_seven(use)
    use(MASTER_KEYS=f"2:{new_secret()}")
    with Session(engine_for("zw_worker")) as session, pytest.raises(key_use.KeysUnfit, match="版本 1"):
        key_use.check_keys(session)
    with pytest.raises(key_use.KeysUnfit, match="keys rotate"), TestClient(create_app()):
        pass
    use(MASTER_KEYS=f"{first},2:{new_secret()}")
    with TestClient(create_app()) as client:
        assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize(("name", "value"), [("INDEX_KEY", "i" * 43 + "="), ("INDEX_HASH", "sm3")])
def test_an_index_key_or_hash_that_would_find_nobody_is_refused(use: Use, name: str, value: str) -> None:
    with TestClient(create_app()) as client:
        use(**{name: value})
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()["code"]) == (503, "keys_unfit")
    with pytest.raises(key_use.KeysUnfit, match=name), TestClient(create_app()):
        pass
    with pytest.raises(key_use.KeysUnfit, match=name):
        key_use.refuse_unfit_keys("zw_worker", note=True)


def test_the_command_line_rotates_and_says_which_key_may_go(use: Use, first: str, drain: Callable[[], int]) -> None:
    seal_seven(use)
    use(MASTER_KEYS=f"{first},2:{new_secret()}")

    def shown(*arguments: str) -> str:
        result = CliRunner().invoke(command_line, ["keys", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert result.exit_code == 0, result.output
        return result.output

    def row(version: int) -> list[str]:
        return next(line.split() for line in shown("status").splitlines() if line.split()[:1] == [str(version)])

    assert row(2)[1:4] == ["–", "0", "0"]
    assert "newest" in row(2)
    assert "use" in row(1)
    assert "2" in shown("rotate")
    assert f"{key_rotation.ROTATE_JOB}: ready 1" in shown("status")
    drain()
    assert row(1)[1:] == ["–", "0", "0", "可移除", "removable"]
    assert row(2)[1:3] == ["aes-siv", "4"]
