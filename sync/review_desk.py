"""One transaction of somebody who reviews: what it adds up to, and one decision among many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlmodel import Session

from backend.core.clock import now
from backend.core.db import act_as
from backend.core.errors import ZhiwangError
from backend.services import erased
from backend.services.documents import lock
from backend.services.sessions import Caller
from sync import feed, review_steps
from sync.known import Touch
from sync.review_steps import Step

T = TypeVar("T")


@dataclass(slots=True)
class Desk:
    """One transaction of a reviewer: what it adds up to."""

    session: Session
    caller: Caller
    moment: datetime
    steps: list[Step] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)

    def close(self) -> None:
        """Write the steps, tell the authors, and number the records; nothing may follow."""
        review_steps.write(self.session, self.steps, caller=self.caller, now=self.moment)
        review_steps.announce(self.session, self.steps)
        feed.touch(self.session, self.touches)


def open_desk(session: Session, caller: Caller, document_ids: Sequence[UUID], rows: Sequence[UUID] = ()) -> Desk:
    """Keep erasures waiting, lock the records, and tell the row policies which records and rows are reviewed."""
    erased.hold_off(session)
    act_as(session, {"review": ",".join(map(str, (*document_ids, *rows)))})
    lock(session, document_ids)
    return Desk(session, caller, now())


def tried(desk: Desk, work: Callable[[], T]) -> tuple[T | None, ZhiwangError | None]:
    """Do one piece of work among many, of which nothing stays where it is refused."""
    steps, touches = len(desk.steps), len(desk.touches)
    try:
        with desk.session.begin_nested():
            return work(), None
    except ZhiwangError as refusal:
        del desk.steps[steps:], desk.touches[touches:]
        return None, refusal
