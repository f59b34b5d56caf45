"""Erasure: one human is forgotten everywhere, everybody else stays byte for byte. All people here are synthetic."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlmodel import Session, select

from backend import jobs
from backend.core.clock import now
from backend.core.db import engine_for, transaction
from backend.core.enums import ErasureReason, ErasureState, Role, SubjectType
from backend.core.errors import NotFound
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.kinds import Identity
from backend.models import ErasedSubject
from backend.seed import synthetic
from backend.seed.drops import flat
from backend.services import erased, erasure, erasure_ledger, erasure_requests, registry
from backend.services.erasure_ledger import Line
from backend.services.life_schemas import ErasureRequest, ErasureView, Subject
from backend.services.objects import LocalObjects
from backend.services.records import id_index
from backend.services.registry_specs import SPECS
from backend.services.sealing import Vault, human
from backend.services.sessions import Caller
from sync.erased import ask_erased
from tests.people import accounts_of, new_account
from tests.rooms.media_samples import digest, jpeg
from tests.world import Json, World, document, edited

GONE = synthetic.MAKERS["population"](0)
OTHER = synthetic.MAKERS["population"](1)
GONE_IDENTITY = Identity(GONE["id_type"], GONE["id_number"])
NOT_COMPARED = {"audit_entry", "job", "feed", "feed_counter", "device", "erasure", "beat_slot", "session_family"}
Drain = Callable[[], int]


def caller_of(role: Role) -> Caller:
    with Session(engine_for("zw_worker")) as session:
        posted = accounts_of(session, role)
        found = posted[0] if posted else new_account(session, role)
        session.commit()
        return Caller(found.id, role, None, "", None)


def ask(*, reason: ErasureReason = ErasureReason.SUBJECT_REQUEST, **subject: Any) -> UUID:
    request = ErasureRequest(subject=Subject(**subject), reason=reason)
    with transaction(engine_for("zw_worker")) as session:
        return erasure_requests.ask(session, caller=caller_of(Role.STEWARD), request=request).id


def approve(erasure_id: UUID) -> None:
    with transaction(engine_for("zw_worker")) as session:
        erasure_requests.approve(session, caller=caller_of(Role.SECURITY_ADMIN), erasure_id=erasure_id)


def read(erasure_id: UUID) -> ErasureView:
    with Session(engine_for("zw_worker")) as session:
        return erasure_requests.read(session, erasure_id=erasure_id)


def erase(drain: Drain, **subject: Any) -> ErasureView:
    erasure_id = ask(**subject)
    approve(erasure_id)
    drain()
    return read(erasure_id)


def by_identity() -> dict[str, Any]:
    return {"id_type": GONE["id_type"], "id_number": GONE["id_number"]}


def rows_of(statement: str, **values: Any) -> list[Any]:
    with Session(engine_for("zw_worker")) as session:
        return list(session.connection().execute(text(statement), values))


def dump(*, without: set[str]) -> dict[str, list[str]]:
    """Every row of every table as text, but for the rows that name one of these ids."""
    tables = rows_of("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    found = {}
    for (table,) in tables:
        if table not in NOT_COMPARED:
            rows = [row[0] for row in rows_of(f'SELECT t::text FROM "{table}" t')]
            found[table] = sorted(row for row in rows if not any(one in row for one in without))
    return found


def person_of(record: Json, grid: str, **more: Any) -> Json:
    kept = ("name", "id_type", "id_number", "birth_date", "phone")
    return document(grid, **{name: record[name] for name in kept}, **more)


def member(record: Json) -> Json:
    return {"id": str(uuid4()), **{name: record[name] for name in ("name", "id_type", "id_number", "phone")}}


class Town:
    """A small town in which one human is known in every way the product knows."""

    def __init__(self, world: World, drain: Drain, tmp_path: Path) -> None:
        self.one, self.other = world.handheld(), world.handheld()
        self.grid = self.one.grids()[0]
        self.photo, self.shared = jpeg(), jpeg(320, 200)
        self.photo_ids = [new_id(), new_id()]
        self.person = person_of(GONE, self.grid, photos=[self._entry(0), self._entry(1)])
        self.again = person_of(GONE, self.grid, remark="第二次登记")
        self.neighbour = person_of(OTHER, self.grid, photos=[self._entry(1)])
        self.house = document(
            self.grid,
            address="合成路1号",
            owner=member(OTHER),
            tenants=[member(GONE), member(OTHER)],
            rental_use="rented",
        )
        self.refused = person_of(GONE, "999999999999999")
        self.import_people(tmp_path)
        self.one.push_rows("person", [{"newDocumentState": self.person}, {"newDocumentState": self.neighbour}])
        self.other.push("person", self.again)
        self.one.push("house", self.house)
        self.one.push("person", self.refused)
        for photo_id, content in zip(self.photo_ids, (self.photo, self.shared), strict=True):
            self.send(photo_id, content)
        self.one.pull("person")
        edit = edited(self.one.documents[self.person["id"]], remark="改过")
        self.one.push("person", edit, self.one.documents[self.person["id"]])
        drain()
        for handheld in (self.one, self.other):
            handheld.pull("person")
            handheld.pull("house")

    def _entry(self, number: int) -> Json:
        content = (self.photo, self.shared)[number]
        return {
            "photo_id": str(self.photo_ids[number]),
            "sha256": digest(content),
            "size": len(content),
            "mime": "image/jpeg",
        }

    def send(self, photo_id: UUID, content: bytes) -> None:
        answer = self.one.client.post(
            "/media/v1/photos",
            headers=self.one.headers,
            data={"photo_id": str(photo_id), "sha256": digest(content)},
            files={"file": ("x.jpg", content, "image/jpeg")},
        )
        assert answer.status_code in (200, 201), answer.text

    def import_people(self, folder: Path) -> None:
        spec, path = SPECS["population"], folder / "people.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = [flat(spec, synthetic.MAKERS["population"](number)) for number in range(3)]
            csv.writer(file).writerows([[column.title for column in spec.columns], *lines])
        with transaction(engine_for("zw_worker")) as session:
            assert registry.import_path(session, "population", path, actor="test").accepted == 3


@pytest.fixture
def town(world: World, drain: Drain, tmp_path: Path) -> Town:
    return Town(world, drain, tmp_path)


def test_a_human_is_forgotten_in_every_table_and_everybody_else_stays(town: Town, drain: Drain) -> None:
    subject, index = human(GONE_IDENTITY.id_type, GONE_IDENTITY.id_number), id_index(GONE_IDENTITY)
    own = {town.person["id"], town.again["id"], town.refused["id"]}
    touched = own | {town.house["id"], str(town.photo_ids[0]), index.hex(), subject.hex()}
    touched |= {UUID(one).hex for one in (*own, str(town.photo_ids[0]))}
    before = dump(without=touched)
    files = set(_files())
    done = erase(drain, **by_identity())
    assert done.state is ErasureState.DONE
    assert dump(without=touched) == before | {"erased_subject": dump(without=touched)["erased_subject"]}
    assert done.report["document"] == 2
    assert done.report["quarantine"] == 1
    assert done.report["business_record"] == 1
    assert done.report["republished"] == 1
    assert done.report["devices"] >= 2
    assert done.report["photo"] == 1
    assert files - set(_files()) == {name for name in files if str(town.photo_ids[0]) in name}, "its files, no others"
    assert any(str(town.photo_ids[1]) in name for name in _files()), "a photo that a neighbour shows stays"
    assert not rows_of("SELECT FROM document WHERE id_index = :index", index=index)
    assert not rows_of("SELECT FROM business_record WHERE record_key = :key", key=index.hex())
    assert not rows_of("SELECT FROM subject_key WHERE subject_id = :subject", subject=subject)
    left = rows_of(
        "SELECT length(fingerprint), pushed FROM mutation WHERE document_id = ANY(:ids)",
        ids=sorted(own),
    )
    assert left
    assert all(tuple(row) == (0, None) for row in left)
    (house,) = rows_of("SELECT length(fingerprint) FROM mutation WHERE document_id = :id", id=town.house["id"])
    assert house[0] == 0, "a fingerprint of the house would confirm who lived there"
    versions = rows_of("SELECT deleted, sealed, body FROM document_version WHERE document_id = ANY(:ids)", ids=[*own])
    assert len(versions) >= 5
    assert all(tuple(row) == (True, None, {}) for row in versions)
    evidence = rows_of("SELECT evidence FROM verdict WHERE source_id = ANY(:ids)", ids=sorted(own))
    assert evidence
    assert all(row.evidence is None for row in evidence)


def test_handhelds_get_tombstones_and_a_house_loses_its_tenant(town: Town, drain: Drain) -> None:
    erase(drain, **by_identity())
    for handheld in (town.one, town.other):
        pulled = {entry["id"]: entry for entry in handheld.pull("person")}
        assert pulled.keys() == {town.person["id"], town.again["id"]}
        assert all(entry["_deleted"] and entry["name"] == "" for entry in pulled.values())
        (house,) = handheld.pull("house")
        assert [tenant["name"] for tenant in house["tenants"]] == [OTHER["name"]]
        assert house["owner"]["name"] == OTHER["name"]
        assert house["rev"] == 2
    drain()
    assert town.one.pull("house") == [], "and it is published once"


def test_what_comes_later_about_him_is_dropped_and_said_to_be(town: Town, drain: Drain) -> None:
    erase(drain, **by_identity())
    late = edited(town.one.documents[town.person["id"]], remark="迟到的修改")
    fresh = person_of(GONE, town.grid)
    house = edited(town.one.documents[town.house["id"]], rental_use="vacant")
    unreadable = {"newDocumentState": {**person_of(GONE, town.grid), "name": 3}}
    foreign = person_of(GONE, "999999999999999")
    before = town.one.outcomes()
    (tombstone,) = town.one.push("person", late, town.one.documents[town.person["id"]])
    assert tombstone["_deleted"]
    assert tombstone["id"] == late["id"]
    answer = town.one.push_rows("person", [{"newDocumentState": fresh}, unreadable, {"newDocumentState": foreign}])
    assert [entry["_deleted"] for entry in answer] == [True] * 3
    (current,) = town.one.push("house", house, town.one.documents[town.house["id"]])
    assert [tenant["name"] for tenant in current["tenants"]] == [OTHER["name"]], "the house itself stands"
    assert current["rental_use"] == "rented"
    after = town.one.outcomes(since=before["mutations"][-1]["seq"])
    assert [entry["outcome"] for entry in after["mutations"]] == ["erased"] * 5
    assert after["quarantined"] == []
    ops = [late["op"], fresh["op"], house["op"], foreign["op"], unreadable["newDocumentState"]["op"]]
    kept = rows_of(
        "SELECT pushed, pushed_body, fingerprint FROM mutation WHERE op = ANY(CAST(:ops AS uuid[]))", ops=ops
    )
    assert [tuple(row) for row in kept] == [(None, None, b"")] * 5
    assert not rows_of("SELECT FROM document WHERE id = ANY(CAST(:ids AS uuid[]))", ids=[fresh["id"], foreign["id"]])
    assert town.one.push("person", fresh)[0]["_deleted"], "again, after a lost answer"
    assert len(town.one.outcomes(since=before["mutations"][-1]["seq"])["mutations"]) == 5
    assert town.one.push("person", tombstone) == [], "our own tombstone coming back means nothing"


def test_a_document_of_nobody_known_is_erased_by_itself(world: World, drain: Drain) -> None:
    handheld = world.handheld()
    nameless, other = document(handheld.grids()[0], name="某人"), document(handheld.grids()[0], name="某人")
    handheld.push_rows("person", [{"newDocumentState": nameless}, {"newDocumentState": other}])
    done = erase(drain, document_id=UUID(nameless["id"]))
    assert done.report["document"] == 1
    pulled = {entry["id"]: entry["_deleted"] for entry in handheld.pull("person")}
    assert pulled == {nameless["id"]: True, other["id"]: False}
    assert handheld.push("person", edited(nameless, name="某某"))[0]["_deleted"]


def test_by_one_document_all_of_the_human_are_found(town: Town, drain: Drain) -> None:
    done = erase(drain, document_id=UUID(town.again["id"]))
    assert (done.subject_type, done.report["document"]) == (SubjectType.DOCUMENT, 2)


def test_a_record_corrected_to_another_human_keeps_nothing_of_the_first_id(world: World, drain: Drain) -> None:
    """Erasing who a record is about now empties its history too, also what stood there under a mistyped number."""
    handheld = world.handheld()
    mistyped = person_of(OTHER, handheld.grids()[0])
    handheld.push("person", mistyped)
    handheld.push("person", {**edited(mistyped), **{n: GONE[n] for n in ("name", "id_number", "phone")}}, mistyped)
    erase(drain, **by_identity())
    kept = rows_of("SELECT sealed FROM document_version WHERE document_id = :id", id=mistyped["id"])
    assert len(kept) == 3
    assert all(row.sealed is None for row in kept)
    neighbour = person_of(OTHER, handheld.grids()[0])
    assert handheld.push("person", neighbour) == [], "whose number was mistyped is not erased"


def test_deleted_documents_are_emptied_too(world: World, drain: Drain) -> None:
    handheld = world.handheld()
    first = person_of(GONE, handheld.grids()[0])
    handheld.push("person", first)
    handheld.push("person", {**edited(first), "_deleted": True}, first)
    erase(drain, **by_identity())
    kept = rows_of("SELECT sealed, body FROM document_version WHERE document_id = :id", id=first["id"])
    assert kept
    assert all(tuple(row) == (None, {}) for row in kept)


def test_by_the_id_of_a_deleted_record_the_human_is_found(world: World, drain: Drain) -> None:
    handheld = world.handheld()
    first, second = person_of(GONE, handheld.grids()[0]), person_of(GONE, handheld.grids()[0])
    handheld.push_rows("person", [{"newDocumentState": first}, {"newDocumentState": second}])
    handheld.push("person", {**edited(first), "_deleted": True}, first)
    erase(drain, document_id=UUID(first["id"]))
    assert rows_of(
        "SELECT FROM erased_subject WHERE subject_id = :id", id=human(GONE_IDENTITY.id_type, GONE_IDENTITY.id_number)
    )
    (kept,) = rows_of("SELECT deleted, sealed FROM document WHERE id = :id", id=second["id"])
    assert tuple(kept) == (True, None)


def test_refused_rows_of_imports_that_may_name_him_go_and_of_things_stay(
    town: Town, drain: Drain, tmp_path: Path
) -> None:
    """His row was refused for its phone; a refused street lamp names nobody."""
    people = refused_load("population", tmp_path, "phone", "x")
    things = refused_load("components", tmp_path, "grid_id", "x")
    assert {f"rejects/{people}", f"rejects/{things}"} <= set(_files())
    assert erase(drain, **by_identity()).report["reject_file"] >= 1
    kept = {row.id for row in rows_of("SELECT id FROM snapshot WHERE reject_key IS NOT NULL")}
    assert people not in kept
    assert things in kept
    assert not rows_of("SELECT FROM subject_key WHERE subject_id = :id", id=people.bytes)
    assert f"rejects/{people}" not in _files()
    assert f"rejects/{things}" in _files()


def test_a_restored_database_loses_refused_rows_and_their_files_at_once(town: Town, tmp_path: Path) -> None:
    people = refused_load("population", tmp_path, "phone", "x")
    path = get_settings().erasure_ledger_file()
    line = Line(
        now(),
        SubjectType.HUMAN,
        human(GONE_IDENTITY.id_type, GONE_IDENTITY.id_number),
        (),
        ErasureReason.UNLAWFUL,
        new_id(),
    )
    erasure_ledger.append(path, line)
    with transaction(engine_for("zw_worker")) as session:
        assert erasure.replay(session, ledger_path=path) == 1
    assert not rows_of("SELECT FROM subject_key WHERE subject_id = :id", id=people.bytes)
    assert f"rejects/{people}" not in _files()


def test_no_file_is_removed_while_pushes_wait(town: Town, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object store may be slow: an erasure does not wait for it, and tries again until it answers."""
    approve(erasure_id := ask(**by_identity()))
    before = set(_files())
    with monkeypatch.context() as patched, transaction(engine_for("zw_worker")) as session:
        patched.setattr(LocalObjects, "delete", _out_of_reach)
        erasure.erase(session, erasure_id=erasure_id, ledger_path=get_settings().erasure_ledger_file())
        gone = session.connection().execute(text("SELECT FROM photo WHERE id = :id"), {"id": town.photo_ids[0]})
        assert not gone.all()
    assert set(_files()) == before
    drain()
    assert not [name for name in _files() if str(town.photo_ids[0]) in name]


def test_nothing_happens_before_a_second_person_approves(town: Town, drain: Drain) -> None:
    erasure_id = ask(**by_identity())
    drain()
    assert read(erasure_id).state is ErasureState.REQUESTED
    with Session(engine_for("zw_worker")) as session:
        with pytest.raises(erasure_requests.SecondPersonNeeded):
            erasure_requests.approve(session, caller=caller_of(Role.STEWARD), erasure_id=erasure_id)
        with pytest.raises(IntegrityError, match="ck_erasure_two"):
            session.connection().execute(text("UPDATE erasure SET decided_by = requested_by"))
    with transaction(engine_for("zw_worker")) as session:
        erasure_requests.refuse(session, caller=caller_of(Role.SECURITY_ADMIN), erasure_id=erasure_id)
    with Session(engine_for("zw_worker")) as session, pytest.raises(erasure_requests.ErasureDecided):
        erasure_requests.approve(session, caller=caller_of(Role.SECURITY_ADMIN), erasure_id=erasure_id)
    drain()
    assert town.one.pull("person") == []
    with Session(engine_for("zw_worker")) as session, pytest.raises(NotFound):
        erasure_requests.approve(session, caller=caller_of(Role.SECURITY_ADMIN), erasure_id=uuid4())


def test_no_identity_number_is_kept_with_the_request(town: Town, drain: Drain) -> None:
    erasure_id = ask(**by_identity())
    for table in ("erasure", "audit_entry", "job"):
        assert not any(GONE["id_number"] in row[0] for row in rows_of(f"SELECT t::text FROM {table} t"))
    approve(erasure_id)
    drain()
    (row,) = rows_of("SELECT id_index FROM erasure")
    assert row.id_index is None


def test_the_ledger_has_a_line_before_the_database_commits(
    town: Town, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = get_settings().erasure_ledger_file()
    approve(ask(**by_identity()))
    real, seen = jobs.finish, []

    def look(session: Session, job: jobs.Claimed) -> bool:
        if job.name == erasure.ERASE_JOB:
            with Session(engine_for("zw_worker")) as other:
                seen.append((len(list(erasure_ledger.read(path))), len(other.exec(select(ErasedSubject)).all())))
        return real(session, job)

    monkeypatch.setattr(jobs, "finish", look)
    drain()
    assert seen == [(1, 0)]
    (line,) = erasure_ledger.read(path)
    assert line.subject == human(GONE_IDENTITY.id_type, GONE_IDENTITY.id_number)
    assert {str(one) for one in line.documents} == {town.person["id"], town.again["id"]}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert GONE["id_number"] not in path.read_text()


def test_a_ledger_that_cannot_be_written_stops_the_erasure(
    town: Town, drain: Drain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ERASURE_LEDGER", str(tmp_path / "file" / "erasures.jsonl"))
    get_settings.cache_clear()
    done = erase(drain, **by_identity())
    assert done.state is ErasureState.APPROVED
    assert rows_of("SELECT FROM erased_subject") == []
    assert town.one.pull("person") == []


def test_a_restored_database_forgets_again(town: Town, drain: Drain) -> None:
    """The ledger of another life of this database, as after a restore to before the erasure."""
    path = get_settings().erasure_ledger_file()
    subject = human(GONE_IDENTITY.id_type, GONE_IDENTITY.id_number)
    line = Line(now(), SubjectType.HUMAN, subject, (UUID(town.person["id"]),), ErasureReason.UNLAWFUL, new_id())
    erasure_ledger.append(path, line)
    with transaction(engine_for("zw_worker")) as session:
        assert erasure.replay(session, ledger_path=path) == 1
    drain()
    assert not rows_of("SELECT FROM subject_key WHERE subject_id = :subject", subject=subject)
    pulled = {entry["id"] for entry in town.one.pull("person") if entry["_deleted"]}
    assert pulled == {town.person["id"], town.again["id"]}, "also one that the line did not name"
    assert not rows_of("SELECT FROM business_record WHERE position(:subject IN sealed) > 0", subject=subject)
    assert read(line.run).state is ErasureState.DONE
    before = dump(without=set())
    with transaction(engine_for("zw_worker")) as session:
        assert erasure.replay(session, ledger_path=path) == 0
    drain()
    assert dump(without=set()) == before
    assert town.one.pull("person") == []


def test_a_ledger_line_cut_off_by_a_crash_is_passed_over_and_a_strange_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "trust" / "erasures.jsonl"
    line = Line(now(), SubjectType.HUMAN, b"s" * 16, (new_id(),), ErasureReason.UNLAWFUL, new_id())
    erasure_ledger.append(path, line)
    path.write_bytes(path.read_bytes() + b'{"at":"2026')
    assert list(erasure_ledger.read(path)) == [line]
    erasure_ledger.append(path, line)
    assert list(erasure_ledger.read(path)) == [line, line]
    path.write_bytes(path.read_bytes() + b'{"at":"never"}\n')
    with pytest.raises(erasure_ledger.LedgerDamaged, match="line 4"):
        list(erasure_ledger.read(path))
    assert list(erasure_ledger.read(tmp_path / "none")) == []


def test_while_a_dataset_loads_its_rows_are_looked_for_again(town: Town, drain: Drain) -> None:
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text(
                "INSERT INTO snapshot (id, dataset_code, taken_at, state, accepted, rejected, reasons, sha256) "
                "VALUES (:id, 'population', now(), 'loading', 0, 0, '[]', '')"
            ),
            {"id": new_id()},
        )
    assert erase(drain, **by_identity()).state is ErasureState.ERASING
    waiting = rows_of("SELECT key FROM job WHERE name = :name AND state = 'ready'", name=erasure.TRACES_JOB)
    assert [row.key[-2:] for row in waiting] == [":1"]


def test_history_is_emptied_for_the_erased_only_and_by_the_worker_only(town: Town) -> None:
    ids = [UUID(town.neighbour["id"])]
    with Session(engine_for("zw_worker")) as session:
        run = session.connection().execute
        found = run(text("SELECT affected FROM erase_history('document', :ids)"), {"ids": ids}).scalars().all()
        assert sum(found) == 0
        subjects = [human(OTHER["id_type"], OTHER["id_number"])]
        assert run(text("SELECT erase_fingerprints(:subjects)"), {"subjects": subjects}).scalar_one() == 0
        assert rows_of("SELECT FROM document_version WHERE document_id = ANY(:ids) AND sealed IS NOT NULL", ids=ids)
    for call in ("erase_history('document', '{}')", "erase_fingerprints('{}')"):
        with Session(engine_for("zw_api")) as session, pytest.raises(ProgrammingError, match="permission denied"):
            session.connection().execute(text(f"SELECT {call}"))


def test_a_push_and_an_erasure_never_overlap(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push under way keeps the erasure waiting: else it could leave an index of somebody already erased."""
    free: list[bool] = []

    def ask(vault: Vault, rows: Any) -> Callable[[], frozenset[int]]:
        read = ask_erased(vault, rows)

        def look() -> frozenset[int]:
            found = read()
            with Session(engine_for("zw_worker")) as other:
                query = text("SELECT pg_try_advisory_xact_lock(:gate)")
                free.append(other.connection().scalar(query, {"gate": erased.GATE}))
            return found

        return look

    monkeypatch.setattr("sync.service.ask_erased", ask)
    town.one.push("person", person_of(OTHER, town.grid))
    assert free == [False]
    with Session(engine_for("zw_worker")) as one, Session(engine_for("zw_worker")) as other:
        erased.hold_off(one)
        erased.hold_off(other)


def refused_load(dataset: str, folder: Path, column: str, value: str) -> UUID:
    """A load of eight synthetic rows of which the first, about `GONE` where it is of people, is refused."""
    spec, path = SPECS[dataset], folder / f"{dataset}-refused.csv"
    lines = [flat(spec, synthetic.MAKERS[dataset](number)) for number in range(8)]
    lines[0][[one.name for one in spec.columns].index(column)] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[one.title for one in spec.columns], *lines])
    with transaction(engine_for("zw_worker")) as session:
        snapshot = registry.import_path(session, dataset, path, actor="test")
        assert (snapshot.rejected, snapshot.reject_key) == (1, f"rejects/{snapshot.id}")
        return snapshot.id


def _out_of_reach(_store: LocalObjects, _key: str) -> None:
    raise AssertionError("the object store was asked under the gate")


def _files() -> list[str]:
    root = get_settings().state_dir / "media"
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
