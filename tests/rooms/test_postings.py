"""Postings and what follows them: one at a time, three separate people, grids that end with the posting."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from backend.core.clock import now
from backend.core.enums import Role
from backend.core.errors import NotFound
from backend.models import Account, Membership, Posting
from backend.seed.territory import DEMO_GRIDS
from backend.services import postings
from backend.services.postings import PostingConflict
from tests.people import new_account

DAY = timedelta(days=1)
STREET = DEMO_GRIDS[0][:9]
DISTRICT = STREET[:6]


def post(session: Session, account: Account, role: Role, territory: str = "", **dates: Any) -> Posting:
    return postings.add(session, actor="test", account_id=account.id, role=role, territory_code=territory, **dates)


def because(refused: pytest.ExceptionInfo[PostingConflict]) -> str:
    return str(refused.value.extra["because"])


def test_a_new_posting_ends_the_one_in_force(session: Session) -> None:
    account = new_account(session, Role.OPERATOR)
    before = postings.current(session, account.id)
    after = post(session, account, Role.SUPERVISOR, DISTRICT)
    assert before is not None
    assert before.ends_at == after.starts_at
    assert postings.current(session, account.id) == after


def test_a_posting_to_come_is_not_in_force_before_its_day_nor_after_its_end(session: Session) -> None:
    account = new_account(session, Role.OPERATOR)
    coming = post(session, account, Role.SUPERVISOR, starts_at=now() + DAY, ends_at=now() + 3 * DAY)
    role_on = {}
    for days in (0, 1, 2, 3):
        query = select(Posting.role).where(postings.in_force(now() + days * DAY + DAY / 2, account_id=account.id))
        role_on[days] = session.exec(query).first()
    assert role_on == {0: Role.OPERATOR, 1: Role.SUPERVISOR, 2: Role.SUPERVISOR, 3: None}
    assert postings.current(session, account.id) != coming


def test_the_standing_posting_is_the_one_in_force_else_the_newest(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = new_account(session, Role.OPERATOR)
    post(session, account, Role.SUPERVISOR, starts_at=now() + DAY, ends_at=now() + 2 * DAY)

    def role_in(days: float) -> Role:
        later = now() + days * DAY
        monkeypatch.setattr(postings, "now", lambda: later)
        standing = postings.standing()
        found: Role = session.execute(select(standing.c.role).where(standing.c.account_id == account.id)).scalar_one()
        return found

    assert [role_in(days) for days in (0, 1.5, 9)] == [Role.OPERATOR, Role.SUPERVISOR, Role.SUPERVISOR]


@pytest.mark.parametrize(
    ("starts", "ends", "expected"),
    [(-1.0, None, "in_the_past"), (2.0, 1.0, "in_the_past"), (0.0, None, "overlaps"), (0.5, 1.5, "overlaps")],
)
def test_dates_that_do_not_fit_are_refused(session: Session, starts: float, ends: float | None, expected: str) -> None:
    account = new_account(session, Role.OPERATOR)
    moment = now()
    post(session, account, Role.DISPATCHER, starts_at=moment + DAY)
    dates: dict[str, Any] = {"starts_at": moment + starts * DAY} | (
        {} if ends is None else {"ends_at": moment + ends * DAY}
    )
    with pytest.raises(PostingConflict) as refused:
        post(session, account, Role.SUPERVISOR, **dates)
    assert because(refused) == expected


def test_a_posting_may_end_before_the_next_one_begins(session: Session) -> None:
    account = new_account(session, Role.OPERATOR)
    post(session, account, Role.DISPATCHER, starts_at=now() + 2 * DAY)
    post(session, account, Role.SUPERVISOR, ends_at=now() + DAY)
    assert [one.role for one in postings.history(session, account.id)] == [
        Role.DISPATCHER,
        Role.SUPERVISOR,
        Role.OPERATOR,
    ]


def test_places_have_to_exist_and_a_handler_belongs_to_a_department(session: Session) -> None:
    account = new_account(session, Role.OPERATOR)
    with pytest.raises(NotFound):
        post(session, account, Role.SUPERVISOR, "999999")
    with pytest.raises(NotFound):
        postings.add(session, actor="test", account_id=account.id, role=Role.HANDLER, department_code="nowhere")
    with pytest.raises(PostingConflict) as refused:
        post(session, account, Role.HANDLER)
    assert because(refused) == "department_missing"


def test_nobody_is_first_one_and_then_another_of_the_three(session: Session) -> None:
    account = new_account(session, Role.AUDITOR)
    post(session, account, Role.OPERATOR)
    with pytest.raises(PostingConflict) as refused:
        post(session, account, Role.SYSTEM_ADMIN)
    assert because(refused) == "separate_people"
    post(session, account, Role.AUDITOR)


def test_a_posting_that_never_came_into_force_bars_nothing(session: Session) -> None:
    account = new_account(session, Role.OPERATOR)
    coming = post(session, account, Role.AUDITOR, starts_at=now() + DAY)
    postings.finish(session, coming, actor="test")
    assert coming.ends_at == coming.starts_at
    post(session, account, Role.SYSTEM_ADMIN)


@pytest.mark.parametrize(
    ("role", "starts", "constraint"),
    [(Role.OPERATOR, -0.5, "one_at_a_time"), (Role.SECURITY_ADMIN, -9.0, "separate_people")],
)
def test_the_database_itself_holds_both_rules(session: Session, role: Role, starts: float, constraint: str) -> None:
    """The second wall: rows written past the service."""
    account = new_account(session, Role.AUDITOR)
    begins = now() + starts * DAY
    row = Posting(account_id=account.id, role=role, starts_at=begins, ends_at=begins + DAY / 4, granted_by="test")
    session.add(row)
    with pytest.raises(IntegrityError, match=constraint):
        session.flush()


def test_an_end_lies_ahead_and_is_given_once(session: Session) -> None:
    account = new_account(session, Role.OPERATOR)
    posting = postings.current(session, account.id)
    assert posting is not None
    with pytest.raises(PostingConflict) as refused:
        postings.finish(session, posting, actor="test", ends_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert because(refused) == "in_the_past"
    postings.finish(session, posting, actor="test", ends_at=now() + DAY)
    postings.finish(session, posting, actor="test")
    assert postings.current(session, account.id) is None
    with pytest.raises(PostingConflict) as refused:
        postings.finish(session, posting, actor="test")
    assert because(refused) == "not_running"


def grids_at(session: Session, account: Account, days: float) -> set[str]:
    at = now() + days * DAY
    query = select(Membership).where(Membership.account_id == account.id)
    return {
        one.grid_id for one in session.exec(query) if one.starts_at <= at and (one.ends_at is None or one.ends_at > at)
    }


@pytest.fixture
def worker(session: Session) -> Account:
    """A worker of the district, with a grid in the first street and one in another."""
    account = new_account(session, Role.GRID_WORKER, territory_code=DISTRICT)
    for grid_id in (DEMO_GRIDS[0], elsewhere()):
        session.add(Membership(account_id=account.id, grid_id=grid_id, epoch=90, starts_at=now() - DAY))
    session.flush()
    return account


def elsewhere() -> str:
    """A grid of the district in another street."""
    from backend.seed.territory import grids

    return next(grid.id for grid in grids() if grid.id.startswith(DISTRICT) and not grid.id.startswith(STREET))


def test_grids_outside_the_new_territory_are_given_up_when_it_begins(session: Session, worker: Account) -> None:
    post(session, worker, Role.GRID_WORKER, STREET, starts_at=now() + DAY)
    assert grids_at(session, worker, 0.5) == {DEMO_GRIDS[0], elsewhere()}
    assert grids_at(session, worker, 1.5) == {DEMO_GRIDS[0]}


def test_who_is_no_worker_any_more_holds_no_grid(session: Session, worker: Account) -> None:
    post(session, worker, Role.OPERATOR, DISTRICT)
    assert grids_at(session, worker, 0.01) == set()


def test_grids_end_with_the_posting(session: Session, worker: Account) -> None:
    posting = postings.current(session, worker.id)
    assert posting is not None
    postings.finish(session, posting, actor="test", ends_at=now() + DAY)
    assert len(grids_at(session, worker, 0.5)) == 2
    assert grids_at(session, worker, 1.5) == set()
