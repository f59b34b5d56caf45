"""Which grids a worker holds, and until when: opened and ended, never rewritten: it stays true who held what."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, or_

from backend.core.clock import now
from backend.core.enums import Reach, Role
from backend.core.errors import NotFound, ZhiwangError
from backend.core.ids import new_id
from backend.models import Account, Grid, Membership, Posting
from backend.services import audit, postings
from backend.services.postings import LATE
from backend.services.scope import below, is_below
from backend.services.sessions import Caller


class MembershipConflict(ZhiwangError):
    """`because`: `in_the_past`, `held_already`, `not_running`, `outside_posting`."""

    code = "membership_conflict"
    status = 409
    title_zh = "网格任期冲突：时间已过、已在任期内，或不在该网格员的任职区域内"
    title_en = "The membership conflicts with its dates, with another one, or with the worker's posting"


def listed(
    session: Session, *, caller: Caller, grid_id: str | None, account_id: UUID | None, past: bool
) -> Sequence[Membership]:
    """Memberships in grids of the caller's territory: running and to come, or all with `past`; newest first."""
    query = _in_reach(caller)
    if grid_id is not None:
        query = query.where(col(Membership.grid_id) == grid_id)
    if account_id is not None:
        query = query.where(col(Membership.account_id) == account_id)
    if not past:
        query = query.where(or_(col(Membership.ends_at).is_(None), col(Membership.ends_at) > now()))
    query = query.order_by(col(Membership.grid_id), col(Membership.epoch).desc()).limit(1000)
    return session.execute(query).scalars().all()


def open_membership(
    session: Session,
    *,
    caller: Caller,
    account_id: UUID,
    grid_id: str,
    starts_at: datetime | None,
    ends_at: datetime | None,
) -> Membership:
    """Give a worker a grid. The epoch is one more than any the grid has had, so that no two terms are mixed up.

    Two workers may hold a grid at once while they hand it over. `NotFound` for a grid or worker outside the caller's
    territory, `MembershipConflict` where the dates, another term or the worker's posting do not fit.
    """
    moment = now()
    begins = starts_at or moment
    if begins < moment - LATE or (ends_at is not None and ends_at <= begins):
        raise MembershipConflict(because="in_the_past")
    begins = max(begins, moment)
    _check_grid(session, caller, grid_id)
    posting = _posting(session, caller, account_id)
    over = posting.ends_at is not None and posting.ends_at <= begins
    if over or begins < posting.starts_at or not grid_id.startswith(posting.territory_code):
        raise MembershipConflict(because="outside_posting")
    session.connection().execute(_ONE_AT_A_TIME, {"grid": grid_id})
    if _held(session, account_id, grid_id, begins, ends_at):
        raise MembershipConflict(because="held_already")
    if posting.ends_at is not None:
        ends_at = min(ends_at or posting.ends_at, posting.ends_at)
    newest = session.execute(select(func.max(col(Membership.epoch))).where(col(Membership.grid_id) == grid_id)).scalar()
    membership = Membership(
        id=new_id(),
        account_id=account_id,
        grid_id=grid_id,
        epoch=(newest or 0) + 1,
        starts_at=begins,
        ends_at=ends_at,
    )
    session.add(membership)
    session.flush()
    _record(session, caller, "membership_opened", membership)
    return membership


def end_membership(session: Session, *, caller: Caller, membership_id: UUID, ends_at: datetime | None) -> Membership:
    """End a term, now or later; one that has not begun never comes into force. `MembershipConflict` for one over."""
    moment = now()
    query = _in_reach(caller).where(col(Membership.id) == membership_id).with_for_update(of=Membership)
    membership: Membership | None = session.execute(query).scalars().first()
    if membership is None:
        raise NotFound
    end = ends_at or moment
    if end < moment - LATE:
        raise MembershipConflict(because="in_the_past")
    if membership.ends_at is not None and membership.ends_at <= max(moment, end):
        raise MembershipConflict(because="not_running")
    membership.ends_at = max(end, moment, membership.starts_at)
    session.flush()
    _record(session, caller, "membership_ended", membership)
    return membership


def _in_reach(caller: Caller) -> Select[Any]:
    query: Select[Any] = select(Membership)
    if Reach.ANY in caller.reach:
        return query
    return query.where(below(Membership.grid_id, caller))


def _check_grid(session: Session, caller: Caller, grid_id: str) -> None:
    grid = session.get(Grid, grid_id)
    if grid is None or (grid.ends_at is not None and grid.ends_at <= now()):
        raise NotFound("grid_id")
    if Reach.ANY not in caller.reach and not is_below(grid_id, caller):
        raise NotFound("grid_id")


def _posting(session: Session, caller: Caller, account_id: UUID) -> Posting:
    """The posting as a grid worker that carries the membership, of a worker in the caller's territory.

    The account is locked first: a worker who is being moved must not get a grid of where he was.
    """
    postings.lock(session, account_id)
    posting: Any = aliased(Posting, postings.standing())
    query = select(posting).join(Account, col(Account.id) == posting.account_id)
    query = query.where(col(Account.id) == account_id, col(Account.active), posting.role == Role.GRID_WORKER)
    if Reach.ANY not in caller.reach:
        query = query.where(below(posting.territory_code, caller))
    found: Posting | None = session.execute(query).scalars().first()
    if found is None:
        raise NotFound("account_id")
    return found


def _held(session: Session, account_id: UUID, grid_id: str, begins: datetime, ends: datetime | None) -> bool:
    """Whether the worker has a term in this grid that meets this one."""
    meets = or_(col(Membership.ends_at).is_(None), col(Membership.ends_at) > begins)
    query = select(col(Membership.id)).where(
        col(Membership.account_id) == account_id, col(Membership.grid_id) == grid_id, meets
    )
    if ends is not None:
        query = query.where(col(Membership.starts_at) < ends)
    real = or_(col(Membership.ends_at).is_(None), col(Membership.ends_at) > col(Membership.starts_at))
    return session.execute(query.where(real)).first() is not None


def _record(session: Session, caller: Caller, action: str, membership: Membership) -> None:
    audit.record(
        session,
        actor=str(caller.account_id),
        action=action,
        object_type="membership",
        object_id=str(membership.id),
        account=str(membership.account_id),
        grid=membership.grid_id,
        epoch=membership.epoch,
    )


_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('membership:' || :grid, 0))")
