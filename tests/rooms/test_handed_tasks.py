"""Checks of cases as tasks of their grid, and what a release publishes of before."""

from typing import Any

import pytest
from sqlmodel import Session, col, select

from backend.core.enums import Kind, Role
from backend.handlers import load_handlers
from backend.jobs import handler_of
from backend.models import Case, Document, Job
from backend.services.backfill import request_backfill
from backend.services.sessions import Caller
from tests.rooms.case_builders import Entries, account, caller
from workflows.cases import considering, service
from workflows.cases.rules import Action, CaseOutcome
from workflows.cases.schemas import ActionRequest

UNIT = "urban-management"
CHECK = "sync.project_check"


@pytest.fixture
def case(session: Session) -> Case:
    """A case whose unit reported it handled."""
    entries = Entries(session)
    entry = entries.event()
    considering.consider(session, verdict_id=entries.verdict(entry).id)
    (found,) = entries.cases_of(entry)
    supervisor, handler = caller(session, "supervisor"), account(session, Role.HANDLER, department_code=UNIT)
    for who, action, request in (
        (supervisor, Action.CLAIM, {}),
        (supervisor, Action.DISPATCH, {"department_code": UNIT}),
        (handler, Action.HANDLE, {}),
        (handler, Action.COMPLETE, {}),
    ):
        act(session, who, found, action, **request)
    return found


def act(session: Session, who: Caller, case: Case, action: Action, **request: Any) -> None:
    asked = ActionRequest.model_validate(request)
    service.act(session, caller=who, case_id=case.id, action=action, version=case.version, request=asked)


def run(session: Session, name: str) -> None:
    """Run the jobs of a name that were asked for so far, each of them twice and the latest first."""
    load_handlers()
    for job in session.exec(select(Job).where(Job.name == name).order_by(col(Job.id).desc())).all():
        for _ in range(2):
            handler_of(name)(session, **job.payload)


def checks(session: Session) -> list[tuple[str, str | None, int]]:
    """State, result and version of the published checks, the oldest first."""
    found = session.exec(select(Document).where(Document.kind == Kind.TASK)).all()
    for document in found:
        session.refresh(document)
    ordered = sorted(found, key=lambda document: str(document.body["asked_at"]))
    return [(one.body["state"], one.body.get("result"), one.version) for one in ordered]


def test_each_stay_in_checking_is_a_task_of_its_own(session: Session, case: Case) -> None:
    supervisor = caller(session, "supervisor")
    handler = account(session, Role.HANDLER, department_code=UNIT)
    run(session, CHECK)
    (task,) = session.exec(select(Document).where(Document.kind == Kind.TASK))
    assert (task.grid_id, task.body["task"], task.body["case_id"]) == (case.grid_id, "check", str(case.id))
    assert (task.body["source_id"], task.sealed) == (str(case.source_id), None)
    act(session, supervisor, case, Action.RETURN, reason="not_fixed")
    act(session, handler, case, Action.COMPLETE)
    run(session, CHECK)
    assert checks(session) == [("done", "not_passed", 2), ("open", None, 1)]
    act(session, supervisor, case, Action.CLOSE, outcome=CaseOutcome.RESOLVED)
    run(session, CHECK)
    assert checks(session) == [("done", "not_passed", 2), ("done", "passed", 2)]


def test_a_backfill_publishes_the_checks_that_wait(session: Session, case: Case) -> None:
    for job in session.exec(select(Job).where(Job.name == CHECK)).all():
        session.delete(job)
    asked = request_backfill(session, actor="command_line")
    assert [job.payload for job in asked if job.name == CHECK] == [{"case_id": str(case.id), "version": case.version}]
    run(session, CHECK)
    assert checks(session) == [("open", None, 1)]
