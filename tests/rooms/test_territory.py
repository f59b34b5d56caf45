"""The grid of a point, and who works a grid when."""

from datetime import UTC, datetime, timedelta

from sqlmodel import Session, select

from backend.core.enums import Role
from backend.kinds.geodesy import SCALE
from backend.models import Account, Membership
from backend.seed.load import demo_logins
from backend.seed.synthetic import point_of_grid
from backend.seed.territory import DEMO_GRIDS, grids
from backend.services import territory
from tests.people import new_account

MOMENT = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def a_worker(session: Session) -> Account:
    return new_account(session, Role.GRID_WORKER, territory_code="440310")


def term(session: Session, worker: Account, grid_id: str, epoch: int, first: int, last: int | None) -> None:
    ends_at = None if last is None else MOMENT + last * DAY
    session.add(
        Membership(account_id=worker.id, grid_id=grid_id, epoch=epoch, starts_at=MOMENT + first * DAY, ends_at=ends_at)
    )
    session.flush()


def test_points_of_a_grid_are_found_in_it(session: Session) -> None:
    for grid in grids()[::97]:
        place = point_of_grid(grid.id, 1)
        assert territory.grid_at(session, place["lat"] / SCALE, place["lon"] / SCALE) == grid.id


def test_a_point_outside_the_city_is_in_no_grid(session: Session) -> None:
    assert territory.grid_at(session, 31.23, 121.47) is None


def test_latitude_and_longitude_are_not_exchanged(session: Session) -> None:
    place = point_of_grid(DEMO_GRIDS[0], 1)
    assert territory.grid_at(session, place["lon"] / SCALE, place["lat"] / SCALE) is None


def test_a_term_counts_from_its_first_moment_until_before_its_last(session: Session) -> None:
    worker = a_worker(session)
    term(session, worker, DEMO_GRIDS[0], 1, 0, 2)
    held = [territory.held_grids(session, worker.id, at=MOMENT + hours * DAY / 24) for hours in (-1, 0, 47, 48)]
    assert held == [{}, {DEMO_GRIDS[0]: 1}, {DEMO_GRIDS[0]: 1}, {}]


def test_the_newest_term_of_a_grid_gives_the_epoch(session: Session) -> None:
    worker = a_worker(session)
    term(session, worker, DEMO_GRIDS[0], 1, 0, None)
    term(session, worker, DEMO_GRIDS[0], 4, 1, None)
    assert territory.held_grids(session, worker.id, at=MOMENT + 2 * DAY) == {DEMO_GRIDS[0]: 4}


def test_a_grid_left_is_lost_until_it_is_held_again(session: Session) -> None:
    worker = a_worker(session)
    term(session, worker, DEMO_GRIDS[0], 1, 0, 2)
    term(session, worker, DEMO_GRIDS[1], 1, 0, None)
    assert territory.lost_grids(session, worker.id, at=MOMENT + 3 * DAY) == {
        DEMO_GRIDS[0]: territory.EndedTerm(1, MOMENT + 2 * DAY)
    }
    term(session, worker, DEMO_GRIDS[0], 2, 2, None)
    assert territory.lost_grids(session, worker.id, at=MOMENT + 3 * DAY) == {}


def test_each_demo_grid_is_held_by_a_pair_during_the_hand_over(session: Session) -> None:
    workers = [login for login in demo_logins() if login.grid_id]
    ids = dict(session.exec(select(Account.login, Account.id)).all())
    now = datetime.now(UTC)
    holders: dict[str, set[int]] = {}
    for worker in workers:
        for grid_id, epoch in territory.held_grids(session, ids[worker.login], at=now).items():
            holders.setdefault(grid_id, set()).add(epoch)
    assert len(workers) == 20
    assert holders == {grid_id: {1, 2} for grid_id in DEMO_GRIDS}
