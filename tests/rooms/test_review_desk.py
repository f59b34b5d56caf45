"""One decision among many: what is refused leaves nothing behind, and the rest stands."""

from typing import NoReturn
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.core.enums import Kind, Role
from backend.core.errors import NotFound
from backend.core.ids import new_id
from sync.known import Touch
from sync.review_desk import Desk, tried
from tests.people import caller_of, new_account


def _counted(session: Session, account_id: UUID) -> int:
    query = text("SELECT count(*) FROM review_counter WHERE account_id = :id")
    return int(session.connection().execute(query, {"id": account_id}).scalar_one())


def test_a_refused_decision_leaves_no_write_and_no_touch(session: Session) -> None:
    caller = caller_of(new_account(session, Role.SUPERVISOR, territory_code="4403"))
    desk = Desk(session, caller, now())
    write = text("INSERT INTO review_counter (account_id, seq) VALUES (:id, 1)")

    def work() -> int:
        session.connection().execute(write, {"id": caller.account_id})
        desk.touches.append(Touch("440310001001001", new_id(), Kind.PERSON))
        return 1

    def refused() -> NoReturn:
        work()
        raise NotFound

    result, refusal = tried(desk, refused)
    assert (result, type(refusal), desk.touches) == (None, NotFound, [])
    assert _counted(session, caller.account_id) == 0
    assert tried(desk, work) == (1, None)
    assert (_counted(session, caller.account_id), len(desk.touches)) == (1, 1)
