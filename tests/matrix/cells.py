"""One cell of the matrix: who calls what, about an object that lies where; and how the answer is read."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from backend.core.enums import Reach, Role

if TYPE_CHECKING:
    from tests.matrix.people import Person
    from tests.matrix.scene import Scene


class Place(StrEnum):
    """Where the object of a call lies, seen from the callers of the scene.

    `held`: the grid the worker holds, in the street of the offices. `near`: another grid of that street. `past`: a grid
    of another street that the worker held once. `far`: another district. `sent`: another district, but dispatched to
    the handler's department. `own`: made by, or meant for, the very caller. `none`: there is no object.
    """

    HELD = "held"
    NEAR = "near"
    PAST = "past"
    FAR = "far"
    SENT = "sent"
    OWN = "own"
    NONE = "none"


GRID_PLACES = (Place.HELD, Place.NEAR, Place.PAST, Place.FAR, Place.SENT)

REACHED: dict[Reach, frozenset[Place]] = {
    Reach.ANY: frozenset(Place),
    Reach.SELF: frozenset({Place.OWN, Place.NONE}),
    Reach.GRID: frozenset({Place.HELD, Place.NONE}),
    Reach.TERRITORY: frozenset({Place.HELD, Place.NEAR, Place.NONE}),
    Reach.DEPARTMENT: frozenset({Place.SENT, Place.NONE}),
}
"""Which places a reach covers: the meaning of the words in the table."""


class State(StrEnum):
    """How the caller's login stands."""

    LIVE = "live"
    ENDED = "ended session"
    REVOKED = "revoked device"
    INACTIVE = "inactive account"


class Answer(StrEnum):
    """What a caller gets to know."""

    GRANTED = "granted"
    HIDDEN = "hidden"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A call to be made. `role` is None for a caller who is not logged in."""

    operation: str
    role: Role | None
    place: Place
    state: State
    caller: "Person"
    scene: "Scene"

    def __str__(self) -> str:
        return f"{self.operation} as {self.role or 'nobody'} ({self.state}), object {self.place}"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request without its login."""

    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)


_REFUSALS = {
    (401, "unauthenticated"): Answer.UNAUTHENTICATED,
    (403, "forbidden"): Answer.FORBIDDEN,
    (404, "not_found"): Answer.HIDDEN,
}


@dataclass(frozen=True, slots=True)
class Call:
    """How an operation is called.

    `places`: where its objects can lie. `passed`: codes of refusals that come only after the walls, such as a version
    that has changed. `granted`: reads an answer of 2xx, where success alone does not say that the object was given.
    """

    ask: Callable[[Cell], Ask]
    places: tuple[Place, ...] = (Place.NONE,)
    passed: Collection[str] = ()
    granted: Callable[[Cell, Any], bool] = lambda _cell, _answer: True

    def read(self, cell: Cell, answer: Any) -> Answer:
        """What the answer amounts to. `AssertionError` for one that fits no cell, such as a fault or a bad request."""
        if answer.status_code < 400:
            return Answer.GRANTED if self.granted(cell, answer) else Answer.HIDDEN
        code = answer.json()["code"] if answer.content else _code_of_head(answer.status_code)
        if code in self.passed:
            return Answer.GRANTED
        refusal = _REFUSALS.get((answer.status_code, code))
        assert refusal is not None, f"{cell}: {answer.status_code} {answer.text[:300]}"
        return refusal


def _code_of_head(status: int) -> str:
    """The answer to HEAD has no body to say it."""
    return {401: "unauthenticated", 403: "forbidden", 404: "not_found"}.get(status, "")
