"""The desk of `/reviews/v1` with two handhelds whose edits meet. People are synthetic."""

import pytest

from tests.desk import PERSON, Desk, met
from tests.world import Handheld, Json, World


@pytest.fixture
def pair(world: World) -> tuple[Handheld, Handheld]:
    """Two handhelds of one worker: they hold the same grids."""
    return world.handheld(), world.handheld()


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


@pytest.fixture
def phone(pair: tuple[Handheld, Handheld], desk: Desk) -> Json:
    """An open hard conflict about a phone number: base 8000, theirs 7000, mine 9000."""
    a, b = pair
    met(a, b, "person", PERSON, {"phone": "13700137000"}, {"phone": "13900139000"})
    (conflict,) = desk.conflicts(hardness="hard")
    return conflict


@pytest.fixture
def worker(world: World) -> Handheld:
    return world.handheld()
