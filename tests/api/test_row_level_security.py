"""The second wall: what a query forgets, the database does not show. Tried on the scene of the authorisation matrix."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session

from backend.core import statements
from backend.core.db import act_as, engine_for
from backend.core.enums import Reach, Role
from backend.services.permissions import settings_of
from backend.services.sessions import Caller
from tests.matrix import scene as scenes
from tests.matrix.cells import GRID_PLACES, REACHED, Place, State
from tests.matrix.people import DEPARTMENT, STREET

WALLED = (
    "document",
    "document_version",
    "mutation",
    "conflict",
    "quarantine",
    "review_step",
    "record_join",
    "verification_request",
    "feed",
    "case_file",
    "case_step",
    "verdict",
    "settlement",
    "visit",
    "report",
    "declaration",
    "declaration_version",
)
WITHOUT_CONTENT = {"uuid", "text", "integer", "bigint", "boolean", "text[]"}


@pytest.fixture
def scene(api: TestClient) -> scenes.Scene:
    return scenes.build()


def caller(scene: scenes.Scene, role: Role, *reach: Reach) -> Caller:
    person = scene.people[role]
    department = DEPARTMENT if role is Role.HANDLER else None
    return Caller(person.account_id, role, person.device_id, STREET, department, frozenset(reach))


@contextmanager
def acting(settings: Mapping[str, str] | None) -> Iterator[Session]:
    """A session as the API's, for a caller or for nobody."""
    with Session(engine_for("zw_api")) as session:
        if settings is not None:
            act_as(session, settings)
        yield session


def seen(session: Session, table: str, column: str) -> set[UUID]:
    return set(session.connection().execute(text(f"SELECT {column} FROM {table}")).scalars())


def counted(session: Session) -> dict[str, int]:
    """The rows of each walled table that a session sees."""
    return {table: session.connection().execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in WALLED}


def test_the_api_sees_nothing_for_nobody(scene: scenes.Scene) -> None:
    with Session(engine_for("zw_worker")) as worker, acting(None) as session:
        assert counted(session) == dict.fromkeys(WALLED, 0)
        empty = {table for table, number in counted(worker).items() if number == 0}
    assert empty <= {"mutation", "review_step", "record_join", "case_step"}, "there is something to be seen"


def test_a_query_without_any_condition_gives_what_lies_in_reach(scene: scenes.Scene) -> None:
    reaches = {Role.GRID_WORKER: Reach.GRID, Role.SUPERVISOR: Reach.TERRITORY, Role.HANDLER: Reach.DEPARTMENT}
    for role, reach in reaches.items():
        due = [scene.places[place] for place in GRID_PLACES if place in REACHED[reach]]
        with acting(settings_of(caller(scene, role, reach))) as session:
            assert seen(session, "document", "id") == {things.document_id for things in due}, role
            assert seen(session, "document_version", "document_id") == {things.document_id for things in due}, role
            assert seen(session, "verdict", "id") == {things.verdict_id for things in due}, role
            if role is not Role.GRID_WORKER:
                assert seen(session, "case_file", "id") == {case for things in due for case in things.case_ids}, role


def test_a_pooled_connection_forgets_for_whom_it_worked(scene: scenes.Scene) -> None:
    supervisor = settings_of(caller(scene, Role.SUPERVISOR, Reach.TERRITORY))
    with engine_for("zw_api").connect() as connection:
        with Session(connection) as first:
            act_as(first, supervisor)
            assert seen(first, "document", "id")
            first.commit()
            assert seen(first, "document", "id"), "each further transaction of a session is told again"
            first.commit()
        with Session(connection) as second:
            assert seen(second, "document", "id") == set()


def test_nothing_is_written_out_of_reach(scene: scenes.Scene) -> None:
    far, held = scene.places[Place.FAR], scene.places[Place.HELD]
    worker = settings_of(caller(scene, Role.GRID_WORKER, Reach.GRID))
    with acting(worker) as session:
        change = text("UPDATE document SET version = version WHERE id = ANY(:ids)")
        ids = {"ids": [far.document_id, held.document_id]}
        assert session.connection().execute(change, ids).rowcount == 1
        move = text("UPDATE document SET grid_id = :grid WHERE id = :id")
        with pytest.raises(ProgrammingError, match="row-level security"):
            session.connection().execute(move, {"grid": far.grid_id, "id": held.document_id})


def push(api: TestClient, scene: scenes.Scene, place: Place) -> Any:
    things, worker = scene.places[place], scene.people[Role.GRID_WORKER]
    edit = {
        **things.fields,
        "description": "改写",
        "id": str(things.document_id),
        "op": str(uuid4()),
        "_deleted": False,
    }
    assumed = {**things.fields, "id": str(things.document_id), "op": str(things.op), "_deleted": False}
    body = {"rows": [{"assumedMasterState": assumed, "newDocumentState": edit}]}
    return api.post("/sync/v1/event/push", json=body, headers=worker.headers(State.LIVE))


def unescaped(value: bytes) -> bytes:
    """A `bytea` as its bytes; PostgreSQL writes it as hexadecimal text."""
    return bytes.fromhex(value[2:].decode()) if value.startswith(b"\\x") else value


@contextmanager
def everything_read() -> Iterator[list[bytes]]:
    """Every value that the API's connections get from the database, as it comes over the wire.

    What goes straight through the driver (`backend.core.statements`) is noted when the block ends.
    """
    read: list[bytes] = []
    direct: list[Any] = []
    made = statements.Answer.__init__

    def note(_: Any, cursor: Any, *__: Any) -> None:
        result = cursor.pgresult
        for row in range(result.ntuples if result else 0):
            read.extend(unescaped(result.get_value(row, column) or b"") for column in range(result.nfields))

    def made_and_kept(answer: statements.Answer, connection: Any, cursor: Any, query: str) -> None:
        direct.append(cursor)
        made(answer, connection, cursor, query)

    engine = engine_for("zw_api")
    event.listen(engine, "after_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements.Answer, "__init__", made_and_kept)
        try:
            yield read
        finally:
            event.remove(engine, "after_cursor_execute", note)
            for cursor in direct:
                note(None, cursor)


def content_of(document_id: UUID) -> list[bytes]:
    """What of a stored document must not be read by those who may not see it: its body and its sealed part."""
    with Session(engine_for("zw_worker")) as session:
        query = text("SELECT body::text, sealed FROM document WHERE id = :id")
        row = session.connection().execute(query, {"id": document_id}).one()
    return [row.body.encode(), *([bytes(row.sealed)] if row.sealed else [])]


@pytest.mark.parametrize("place", [Place.NEAR, Place.PAST, Place.FAR, Place.SENT])
def test_no_foreign_content_leaves_the_push(api: TestClient, scene: scenes.Scene, place: Place) -> None:
    with everything_read() as read:
        (answer,) = push(api, scene, place).json()
    things = scene.places[place]
    assert answer["_deleted"] is True
    assert things.fields["description"] not in json.dumps(answer, ensure_ascii=False)
    assert not [part for part in content_of(things.document_id) if any(part in value for value in read)]


def test_own_content_does_reach_the_push(api: TestClient, scene: scenes.Scene) -> None:
    """The negative control of the test before: it would find what was read."""
    things = scene.places[Place.HELD]
    before = content_of(things.document_id)
    with everything_read() as read:
        assert push(api, scene, Place.HELD).json() == []
    assert all(any(part in value for value in read) for part in before)


def test_functions_that_pass_the_wall_give_no_content(database: str) -> None:
    """Ids, codes, versions and counts only; the one `bytea` is the ledger's keyed fingerprint."""
    query = text(
        """
        SELECT p.proname, columns.name, pg_catalog.format_type(columns.type, NULL) AS type
        FROM pg_proc p
        CROSS JOIN LATERAL unnest(p.proallargtypes, p.proargmodes, p.proargnames) AS columns (type, mode, name)
        WHERE p.prosecdef AND has_function_privilege('zw_api', p.oid, 'EXECUTE') AND columns.mode = 't'
        """
    )
    with Session(engine_for("zw_worker")) as session:
        found = {(row.proname, row.name): row.type for row in session.connection().execute(query)}
    assert {"zw_locate", "zw_versions", "zw_fingerprints", "zw_known_ops"} <= {name for name, _ in found}
    odd = {place: kind for place, kind in found.items() if kind not in WITHOUT_CONTENT}
    assert odd == {("zw_fingerprints", "fingerprint"): "bytea"}


def test_a_case_that_is_handed_back_may_leave_the_handlers_sight(api: TestClient, scene: scenes.Scene) -> None:
    sent, handler = scene.places[Place.SENT], scene.people[Role.HANDLER].headers(State.LIVE)
    path = f"/cases/v1/cases/{sent.case_id}"
    version = api.get(path, headers=handler).headers["ETag"]
    returned = api.post(f"{path}/actions/return", json={"reason": "not_ours"}, headers={**handler, "If-Match": version})
    assert (returned.status_code, returned.json()["state"]) == (200, "registered")
    assert api.get(path, headers=handler).status_code == 404


ANOTHER_REQUEST = """
    INSERT INTO verification_request (id, document_id, kind, grid_id, op, field, dataset, version, photos, device_id,
                                      account_id, state, created_at)
    SELECT gen_random_uuid(), document_id, kind, grid_id, gen_random_uuid(), field, 'components', version, '[]',
           device_id, account_id, 'refused', created_at
    FROM verification_request WHERE document_id = :id
"""


def test_a_department_sees_a_record_that_it_is_asked_about_in_that_call_only(scene: scenes.Scene) -> None:
    near, far, sent = (scene.places[place].document_id for place in (Place.NEAR, Place.FAR, Place.SENT))
    with Session(engine_for("zw_worker")) as worker:
        worker.connection().execute(text(ANOTHER_REQUEST), {"id": near})
        worker.commit()
    settings = settings_of(caller(scene, Role.HANDLER, Reach.DEPARTMENT))
    with acting(settings) as session:
        assert seen(session, "document", "id") == {sent}
        assert seen(session, "verification_request", "document_id") == {near, sent}
    with acting({**settings, "review": f"{near},{far}"}) as session:
        assert seen(session, "document", "id") == {near, sent}
        touched = "UPDATE document SET version = version WHERE id = ANY(:ids)"
        assert session.connection().execute(text(touched), {"ids": [near, far, sent]}).rowcount == 1


def test_every_walled_table_is_walled_and_no_other(database: str) -> None:
    query = text("SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace")
    with Session(engine_for("zw_worker")) as session:
        assert set(session.connection().execute(query).scalars()) == set(WALLED)
