"""Rules without a deploy: drafted, tried out on past entries, put in force, returned to; and what each of it writes."""

import csv
import io
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session, select

from backend.core.db import engine_for, transaction
from backend.core.enums import Kind
from backend.models import AuditEntry, WhatIf
from tests.matrix.calls_rules import RULES
from tests.rooms.crosscheck_builders import GRID, LI, ZHANG, Entries, business_records
from tests.world import World
from workflows.crosscheck import service, what_if
from workflows.crosscheck.facts import Source

Drain = Callable[[], int]
LENIENT: Any = deepcopy(RULES)
LENIENT["person"]["compared"]["name"]["threshold"] = 0.1
WATCHED = ("verdict", "case_file", "case_step", "settlement", "visit", "document", "notice", "audit_entry", "recheck")


@pytest.fixture
def checked(world: World, drain: Drain, tmp_path: Path) -> list[Source]:
    """A person with another name than the records', one who is right, and one without a verdict."""
    with transaction(engine_for("zw_worker")) as session:
        business_records(session, tmp_path, "population", ZHANG, LI)
        entries = Entries(session)
        sources = [
            entries.document(Kind.PERSON, ZHANG | {"name": "赵四"}),
            entries.document(Kind.PERSON, LI),
            entries.event(),
        ]
        service.check(session, sources[:2])
    drain()
    return sources


def drafted(api: TestClient, headers: dict[str, str], rules: Any) -> int:
    answer = api.post("/checks/v1/rule-sets", json={"title": "合成规则", "rules": rules}, headers=headers)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["version"])


def ask(api: TestClient, headers: dict[str, str], version: int, **scope: Any) -> str:
    body = {"rule_version": version, "scope": scope}
    answer = api.post("/checks/v1/what-ifs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def rows(*tables: str) -> dict[str, int]:
    with Session(engine_for("zw_worker")) as session:
        run = session.connection().execute
        return {table: run(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables}


def verdict_now(api: TestClient, headers: dict[str, str], source: Source) -> tuple[str, int]:
    answer = api.get("/checks/v1/verdicts", params={"document_id": str(source.id)}, headers=headers)
    (current,) = [one for one in answer.json() if one["superseded_at"] is None]
    return current["verdict"], current["rule_version"]


def test_a_draft_is_tried_out_without_writing_anything_but_its_report(
    api: TestClient, world: World, drain: Drain, checked: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "ENTRIES_A_STEP", 1)
    steward = world.office("data_steward")
    what_if_id = ask(api, steward, drafted(api, steward, LENIENT))
    before = rows(*WATCHED)
    drain()
    assert rows(*WATCHED) == before
    report = api.get(f"/checks/v1/what-ifs/{what_if_id}", headers=steward).json()
    assert (report["state"], report["entries"], report["skipped"]) == ("done", 3, 1)
    assert [report[name] for name in ("number", "changed", "opens", "drops")] == [2, 1, 0, 1]
    seen = {(one["before"], one["after"], one["course_before"], one["course_after"]) for one in report["transitions"]}
    assert seen == {("name_differs", "match", "case", "accepted"), ("match", "match", "accepted", "accepted")}
    (changed,) = [one for one in report["transitions"] if one["before"] == "name_differs"]
    assert (changed["number"], changed["samples"]) == (1, [str(checked[0].id)])
    assert report["grids"] == [{"grid_id": GRID, "number": 2, "changed": 1, "opens": 0, "drops": 1}]
    table = api.get(f"/checks/v1/what-ifs/{what_if_id}/file", headers=steward).content.decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(table)))
    assert sum(int(line["number"]) for line in lines) == 2
    assert {line["grid_id"] for line in lines} == {GRID}
    assert verdict_now(api, steward, checked[0]) == ("name_differs", 1)


def test_a_what_if_looks_at_its_scope_only_and_ends_when_it_is_cancelled(
    api: TestClient, world: World, drain: Drain, checked: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    steward = world.office("data_steward")
    asked = [
        ask(api, steward, 1, kinds=["event"]),
        ask(api, steward, 1, territory="440303"),
        ask(api, steward, 1, since="2099-01-01"),
        ask(api, steward, 1, until="2099-01-01", territory=GRID, kinds=["person"]),
    ]
    drain()
    reports = [api.get(f"/checks/v1/what-ifs/{one}", headers=steward).json() for one in asked]
    assert [(report["entries"], report["number"]) for report in reports] == [(1, 0), (0, 0), (0, 0), (2, 2)]
    monkeypatch.setattr(what_if, "ENTRIES_A_STEP", 1)
    what_if_id = ask(api, steward, 1)
    with transaction(engine_for("zw_worker")) as session:
        run = session.exec(select(WhatIf).order_by(text("id DESC"))).first()
        assert run is not None
        what_if.step(session, run.id, number=0)
        what_if.step(session, run.id, number=0)
    for status in (200, 409):
        answer = api.post(f"/checks/v1/what-ifs/{what_if_id}/cancel", headers=steward)
        assert answer.status_code == status, answer.text
    drain()
    report = api.get(f"/checks/v1/what-ifs/{what_if_id}", headers=steward).json()
    assert (report["state"], report["entries"]) == ("cancelled", 1)


def test_a_version_comes_into_force_and_an_earlier_one_comes_back(
    api: TestClient, world: World, drain: Drain, checked: list[Source]
) -> None:
    steward, admin, supervisor = (world.office(role) for role in ("data_steward", "system_admin", "supervisor"))
    version = drafted(api, steward, LENIENT)
    path = "/checks/v1/rule-sets/{}/activate"
    everything = {"reason": "tried_out", "recheck": {}}
    assert api.post(path.format(version), json=everything, headers=steward).status_code == 403, "somebody else does"
    answer = api.post(path.format(version), json=everything, headers=admin).json()
    assert (answer["version"], answer["before"]) == (2, 1)
    drain()
    assert verdict_now(api, steward, checked[0]) == ("match", 2)
    (case,) = api.get("/cases/v1/cases", params={"state": "closed"}, headers=supervisor).json()["cases"]
    assert (case["outcome"], case["state"]) == ("rules_changed", "closed")
    (run, *_) = api.get("/checks/v1/rechecks", headers=steward).json()
    assert (run["id"], run["cause"], run["state"]) == (answer["recheck_id"], "rules", "done")
    assert (run["entries"], run["checked"]) == (3, 3)
    assert api.post(f"/checks/v1/rechecks/{run['id']}/cancel", headers=steward).json()["code"] == "recheck_ended"

    assert (
        api.post(path.format(version), json={"reason": "returned"}, headers=admin).json()["code"] == "rule_set_active"
    )
    back = {"reason": "returned", "recheck": {"kinds": ["person"]}}
    assert api.post(path.format(1), json=back, headers=admin).json()["before"] == 2
    drain()
    assert verdict_now(api, steward, checked[0]) == ("name_differs", 1)
    open_now = api.get("/cases/v1/cases", headers=supervisor).json()["cases"]
    assert [one["reason"] for one in open_now].count("name_differs") == 1
    listed = api.get("/checks/v1/rule-sets", headers=steward).json()
    assert [(one["version"], one["active"]) for one in listed] == [(2, False), (1, True)]
    shown = api.get("/checks/v1/rule-sets/2", headers=steward).json()
    assert shown["rules"]["person"]["compared"]["name"]["threshold"] == 0.1
    with Session(engine_for("zw_worker")) as session:
        query = select(AuditEntry.action, AuditEntry.object_id).where(AuditEntry.object_type == "rule_set")
        trail = session.exec(query.order_by(text("id"))).all()
    assert trail == [("rule_set_drafted", "2"), ("rule_set_activated", "2"), ("rule_set_activated", "1")]


def test_rules_that_cannot_be_applied_are_not_taken(api: TestClient, world: World) -> None:
    steward, admin = world.office("data_steward"), world.office("system_admin")
    wrong = deepcopy(RULES)
    wrong["priority"] = wrong["priority"][1:]
    refused = api.post("/checks/v1/rule-sets", json={"title": "合成规则", "rules": wrong}, headers=steward)
    assert (refused.status_code, refused.json()["code"]) == (422, "malformed")
    with transaction(engine_for("zw_worker")) as session:
        session.connection().execute(
            text("INSERT INTO rule_set (version, active, rules, title, created_at) VALUES (2, false, '{}', '', now())")
        )
    for path, body in (("rule-sets/2/activate", {"reason": "ordered"}), ("what-ifs", {"rule_version": 2})):
        refused = api.post(f"/checks/v1/{path}", json=body, headers=admin)
        assert (refused.status_code, refused.json()["code"]) == (409, "rule_set_unfit")
