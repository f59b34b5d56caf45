"""Retention: what is older than its rule goes, what is younger or in use stays, and each run leaves a report."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, pool, text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.db import dialect_url, engine_for, transaction
from backend.core.enums import DeclarationState, PhotoState, WithdrawalReason
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.models import Account, Dataset, Declaration, Device, Photo, RetentionRule, RetentionRun
from backend.services import erasure, retention, sealing
from backend.services.objects import object_store
from backend.services.purposes import WITHOUT_RULE, purposes
from backend.tasks import daily
from tests.matrix.declared import declaration
from tests.rooms.test_erasure import GONE, by_identity, person_of
from tests.world import World, document

TODAY = now().date()
UNDATED = {"wechat_message", "device_trace"}
"""Rules whose tables also hold rows that stay for another reason, or older marks."""
OLD = timedelta(days=4000)


@pytest.fixture
def owner(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Rows are written as the owner: no role of the product may write all of them."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    get_settings.cache_clear()
    engine = create_engine(dialect_url(get_settings().migration_url()), poolclass=pool.NullPool)
    with Session(engine) as session:
        yield session
    get_settings.cache_clear()


def run(owner: Session, code: str, day: date = TODAY) -> RetentionRun | None:
    """Commit what the test wrote and run a rule as the worker does."""
    owner.commit()
    with Session(engine_for("zw_worker"), expire_on_commit=False) as session:
        report = retention.run(session, code=code, day=day)
        session.commit()
        return report


def put(session: Session, table: str, **values: Any) -> None:
    names = ", ".join(values)
    session.connection().execute(
        text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values
    )


def account_of(session: Session) -> UUID:
    return session.exec(select(Account.id).order_by(col(Account.id))).first() or new_id()


def device_of(session: Session, *, revoked_at: datetime | None = None) -> UUID:
    device = new_id()
    put(
        session,
        "device",
        id=device,
        account_id=account_of(session),
        name="synthetic",
        public_key="{}",
        enrolled_at=now() - OLD,
        last_seen_at=now() - OLD,
        revoked_at=revoked_at,
        schema_version=1,
        waiting=1,
        skew_ms=5,
    )
    return device


Make = Callable[[Session, datetime], None]


def messages(session: Session, at: datetime) -> None:
    for processed in (at, None):
        index = new_id().bytes
        put(
            session,
            "wechat_message",
            id=new_id(),
            message_key=index,
            sender_index=index,
            raw=b"\x01",
            sent_at=at,
            received_at=at,
            processed_at=processed,
        )


def quarantined(session: Session, at: datetime) -> None:
    device = device_of(session)
    for state in ("resolved", "open"):
        put(
            session,
            "quarantine",
            id=new_id(),
            device_id=device,
            account_id=account_of(session),
            kind="person",
            code="invalid",
            places="[]",
            fingerprint=new_id().bytes,
            payload=b"\x90",
            state=state,
            created_at=at,
        )


def uploads(session: Session, at: datetime) -> None:
    put(
        session,
        "upload",
        id=new_id(),
        photo_id=new_id(),
        owner_id=account_of(session),
        length=1,
        durable_offset=0,
        declared="{}",
        finished=False,
        created_at=at,
        expires_at=at,
    )


def snapshots(session: Session, at: datetime) -> None:
    """A superseded snapshot with a record and a reject file."""
    snapshot = new_id()
    code = session.exec(select(Dataset.code).order_by(col(Dataset.code))).first()
    key = f"rejects/{snapshot}"
    object_store().put(key, b"sealed")
    put(
        session,
        "snapshot",
        id=snapshot,
        dataset_code=code,
        taken_at=at,
        loaded_at=at,
        state="superseded",
        accepted=1,
        rejected=1,
        reasons="[]",
        reject_key=key,
        sha256="",
    )
    put(session, "business_record", snapshot_id=snapshot, record_key="x", line=1, body="{}")


def reconciliations(session: Session, at: datetime) -> None:
    """A run with one link that ended at a moment, and one that goes on."""
    snapshot = new_id()
    put(
        session,
        "snapshot",
        id=snapshot,
        dataset_code="population",
        taken_at=at,
        state="current",
        accepted=0,
        rejected=0,
        reasons="[]",
        sha256="",
    )
    for finished in (at, None):
        run_id = new_id()
        put(
            session,
            "reconciliation",
            id=run_id,
            dataset_code="population",
            snapshot_id=snapshot,
            model_version=1,
            engine="duckdb",
            territory_code="4403",
            state="done" if finished else "running",
            phase="report",
            cursor="",
            step=0,
            tally="{}",
            requested_by=account_of(session),
            requested_at=at,
            finished_at=finished,
        )
        put(session, "reconciliation_link", run_id=run_id, document_id=new_id(), record_id=1, grid_id="1", rule="key")


def notices(session: Session, at: datetime) -> None:
    put(
        session,
        "notice",
        id=new_id(),
        recipient_type="account",
        recipient_id=account_of(session),
        key=str(new_id()),
        template="welcome",
        payload="{}",
        created_at=at,
    )


def sessions(session: Session, at: datetime) -> None:
    family = {"id": new_id(), "account_id": account_of(session), "generation": 1, "created_at": at, "expires_at": at}
    put(session, "session_family", **family)


def codes(session: Session, at: datetime) -> None:
    who = account_of(session)
    put(session, "enrolment_code", digest=new_id().bytes, account_id=who, created_by=who, expires_at=at)


def photos(session: Session, at: datetime) -> None:
    photo_id = new_id()
    key = f"originals/00/{photo_id}"
    object_store().put(key, b"photo")
    session.add(
        Photo(
            id=photo_id,
            taken_as=photo_id,
            sha256="0" * 64,
            size=5,
            mime="image/jpeg",
            state=PhotoState.PROCESSED,
            original_key=key,
            taken_at=at,
            claims=sealing.seal_value(session, photo_id.bytes, {"lat": 1}, context=photo_id.bytes),
            created_at=at,
        )
    )
    session.flush()


def traces(session: Session, at: datetime) -> None:
    device_of(session, revoked_at=at)


def claims_of_time(session: Session, at: datetime) -> None:
    device = device_of(session)
    put(
        session,
        "mutation",
        document_id=new_id(),
        op=new_id(),
        kind="person",
        device_id=device,
        account_id=account_of(session),
        fingerprint=b"",
        outcome="applied",
        client_time=at,
        created_at=at,
    )


def declarations(session: Session, at: datetime) -> None:
    row = session.get_one(Declaration, declaration(session, account_of(session)))
    row.state, row.end_reason, row.ended_at = DeclarationState.WITHDRAWN, WithdrawalReason.MISTAKE, at
    session.flush()


MAKERS: dict[str, Make] = {
    "wechat_message": messages,
    "quarantine_decided": quarantined,
    "upload": uploads,
    "reject_file": snapshots,
    "notice": notices,
    "session": sessions,
    "enrolment_code": codes,
    "snapshot_superseded": snapshots,
    "reconciliation_link": reconciliations,
    "photo_unlinked": photos,
    "photo_claims": photos,
    "declaration_withdrawn": declarations,
    "device_trace": traces,
    "client_time": claims_of_time,
}


@pytest.mark.parametrize("code", sorted(MAKERS))
def test_what_was_kept_long_enough_goes_and_the_rest_stays(owner: Session, code: str) -> None:
    days = owner.get_one(RetentionRule, code).days
    for age in (timedelta(days=days, hours=1), timedelta(days=days) - timedelta(hours=1)):
        MAKERS[code](owner, now() - age)
    report = run(owner, code)
    assert report is not None
    assert report.removed == 1
    assert report.oldest_kept is None or report.oldest_kept >= report.before or code in UNDATED
    assert run(owner, code) is None, "once a day"
    again = run(owner, code, TODAY + timedelta(days=1))
    assert again is not None
    assert again.removed == 0


def test_every_rule_has_a_policy_and_every_policy_a_rule(session: Session) -> None:
    assert set(session.exec(select(RetentionRule.code)).all()) == set(retention.RULES)
    named = {row.retention for row in purposes()} - WITHOUT_RULE
    assert named <= set(retention.RULES)


def test_without_a_policy_nothing_is_removed(owner: Session) -> None:
    owner.connection().execute(text("DELETE FROM retention_rule WHERE code = 'notice'"))
    notices(owner, now() - OLD)
    assert run(owner, "notice") is None
    assert run(owner, "no_such_rule") is None


def test_files_go_with_their_rows(owner: Session) -> None:
    snapshots(owner, now() - OLD)
    photos(owner, now() - OLD)
    root = get_settings().state_dir / "media"
    assert len([path for path in root.rglob("*") if path.is_file()]) == 2
    for code in ("reject_file", "photo_unlinked"):
        run(owner, code)
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_messages_of_a_report_that_is_not_finished_stay(owner: Session) -> None:
    report, citizen, at = new_id(), new_id(), now() - OLD
    put(owner, "citizen", id=citizen, openid_index=citizen.bytes, openid=b"", created_at=at)
    times = {"opened_at": at, "last_message_at": at}
    put(owner, "report", id=report, citizen_id=citizen, state="assembling", version=1, body="{}", **times)
    messages(owner, at)
    owner.connection().execute(text("UPDATE wechat_message SET report_id = :report"), {"report": report})
    found = run(owner, "wechat_message")
    assert found is not None
    assert found.removed == 0


def test_history_is_touched_by_the_worker_only_and_young_claims_by_nobody(database: str) -> None:
    with Session(engine_for("zw_api")) as session, pytest.raises(ProgrammingError, match="permission denied"):
        session.connection().execute(text("SELECT forget_client_times(now(), 1)"))


def test_the_beat_asks_for_every_rule_once_a_day(database: str, drain: Callable[[], int]) -> None:
    daily()
    drain()
    daily()
    drain()
    with Session(engine_for("zw_worker")) as session:
        runs = session.exec(select(RetentionRun)).all()
    assert sorted(run.rule for run in runs) == sorted(retention.RULES)


def test_a_key_and_a_record_written_beside_an_erasure_go_the_next_day(world: World, drain: Callable[[], int]) -> None:
    """The gate keeps pushes out; a record that got in all the same is found by its sealed part."""
    handheld = world.handheld()
    person = person_of(GONE, handheld.grids()[0])
    handheld.push("person", person)
    house = document(handheld.grids()[0], address="合成路1号", tenants=[{"id": str(new_id()), **_named()}])
    handheld.push("house", house)
    with transaction(engine_for("zw_worker")) as session:
        sealing.destroy_keys(session, [sealing.human(**by_identity())])
        key = {"subject": sealing.human(**by_identity()), "wrapped": b"x", "now": datetime.now(UTC)}
        session.connection().execute(
            text("INSERT INTO subject_key (subject_id, wrapped, created_at) VALUES (:subject, :wrapped, :now)"), key
        )
    with transaction(engine_for("zw_worker")) as session:
        assert erasure.remove_leftovers(session, now() - timedelta(days=2)) == 3
    drain()
    assert [entry["_deleted"] for entry in handheld.pull("person")] == [True]
    assert [entry["tenants"] for entry in handheld.pull("house")] == [[]]
    with transaction(engine_for("zw_worker")) as session:
        assert erasure.remove_leftovers(session, now() - timedelta(days=2)) == 0


def _named() -> dict[str, str]:
    return {name: GONE[name] for name in ("name", "id_type", "id_number")}


def test_devices_in_use_keep_their_last_contact(owner: Session) -> None:
    device = device_of(owner)
    run(owner, "device_trace")
    assert owner.get_one(Device, device).last_seen_at is not None
