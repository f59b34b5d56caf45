"""Postings: which role an account holds, where, and from when to when. What it may do follows the one in force."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.sql.selectable import Subquery
from sqlmodel import Session, col, or_, select

from backend.core.clock import now
from backend.core.enums import Role
from backend.core.errors import NotFound, ZhiwangError
from backend.core.ids import new_id
from backend.models import Account, Department, Membership, Posting, TerritoryUnit
from backend.services import audit, posting_rules

LATE = timedelta(minutes=1)
"""A start as old as this counts as now: the clock of who typed it."""


class PostingConflict(ZhiwangError):
    """`because`: `in_the_past`, `overlaps`, `separate_people`, `department_missing`, `not_running`."""

    code = "posting_conflict"
    status = 409
    title_zh = "任职时间或角色冲突（审计、安全、系统管理须由不同的人担任）"
    title_en = "The posting conflicts with another one, with its dates, or with the separation of the three roles"


def in_force(at: datetime, *, account_id: Any) -> ColumnElement[bool]:
    """A condition on `Posting`: the one of this account that is in force at a moment; there is one at most."""
    running = or_(col(Posting.ends_at).is_(None), col(Posting.ends_at) > at)
    return and_(col(Posting.account_id) == account_id, col(Posting.starts_at) <= at, running)


def current(session: Session, account_id: UUID) -> Posting | None:
    """The posting in force now."""
    return session.exec(select(Posting).where(in_force(now(), account_id=account_id))).first()


def standing() -> Subquery:
    """One posting for each account, by which it is found and administered: the one in force, else the newest."""
    moment = now()
    running = or_(col(Posting.ends_at).is_(None), col(Posting.ends_at) > moment)
    in_force_first = case((and_(col(Posting.starts_at) <= moment, running), 0), else_=1)
    query = select(Posting).ext(distinct_on(col(Posting.account_id)))
    query = query.order_by(col(Posting.account_id), in_force_first, col(Posting.starts_at).desc())
    return query.subquery("standing")


def history(session: Session, account_id: UUID) -> Sequence[Posting]:
    """All postings of an account, newest first."""
    query = select(Posting).where(Posting.account_id == account_id).order_by(col(Posting.starts_at).desc())
    return session.exec(query).all()


def add(
    session: Session,
    *,
    actor: str,
    account_id: UUID,
    role: Role,
    territory_code: str = "",
    department_code: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> Posting:
    """Post an account. A posting that runs at the start ends then; grids outside the new territory are given up then.

    Who may grant what is the caller's matter (`posting_rules`). `PostingConflict` where dates or roles do not fit,
    `NotFound` for a territory or department that does not exist.
    """
    moment = now()
    begins = starts_at or moment
    if begins < moment - LATE or (ends_at is not None and ends_at <= begins):
        raise PostingConflict(because="in_the_past")
    begins = max(begins, moment)
    _check_places(session, role, territory_code, department_code)
    lock(session, account_id)
    earlier = history(session, account_id)
    real = [one for one in earlier if one.ends_at is None or one.ends_at > one.starts_at]
    if posting_rules.separate([one.role for one in real], role):
        raise PostingConflict(because="separate_people")
    if any(begins <= one.starts_at and (ends_at is None or one.starts_at < ends_at) for one in real):
        raise PostingConflict(because="overlaps")
    for one in real:
        if one.starts_at < begins and (one.ends_at is None or one.ends_at > begins):
            one.ends_at = begins
    session.flush()
    posting = Posting(
        id=new_id(),
        account_id=account_id,
        role=role,
        territory_code=territory_code,
        department_code=department_code,
        starts_at=begins,
        ends_at=ends_at,
        granted_by=actor,
    )
    session.add(posting)
    session.flush()
    _give_up_grids(session, posting)
    audit.record(
        session,
        actor=actor,
        action="posting_granted",
        object_type="account",
        object_id=str(account_id),
        role=role.value,
        territory=territory_code,
        posting=str(posting.id),
    )
    return posting


def finish(session: Session, posting: Posting, *, actor: str, ends_at: datetime | None = None) -> None:
    """End a posting, now or later; one that has not begun never comes into force. Its grids end with it.

    `PostingConflict` where it is over already, or the end lies in the past.
    """
    moment = now()
    lock(session, posting.account_id)
    session.refresh(posting)
    end = ends_at or moment
    if end < moment - LATE:
        raise PostingConflict(because="in_the_past")
    if posting.ends_at is not None and posting.ends_at <= moment:
        raise PostingConflict(because="not_running")
    end = max(end, moment, posting.starts_at)
    if any(one.starts_at < end for one in history(session, posting.account_id) if one.starts_at > posting.starts_at):
        raise PostingConflict(because="overlaps")
    posting.ends_at = end
    session.flush()
    _end_memberships(session, posting.account_id, at=end, keep=None)
    audit.record(
        session,
        actor=actor,
        action="posting_ended",
        object_type="account",
        object_id=str(posting.account_id),
        posting=str(posting.id),
    )


def _check_places(session: Session, role: Role, territory_code: str, department_code: str | None) -> None:
    if territory_code and session.get(TerritoryUnit, territory_code) is None:
        raise NotFound("territory_code")
    if department_code is not None and session.get(Department, department_code) is None:
        raise NotFound("department_code")
    if role is Role.HANDLER and department_code is None:
        raise PostingConflict(because="department_missing")


def lock(session: Session, account_id: UUID) -> None:
    """Changes of one account's postings happen one after the other."""
    if session.exec(select(Account.id).where(Account.id == account_id).with_for_update()).first() is None:
        raise NotFound


def _give_up_grids(session: Session, posting: Posting) -> None:
    keep = posting.territory_code if posting.role is Role.GRID_WORKER else None
    _end_memberships(session, posting.account_id, at=posting.starts_at, keep=keep)
    if posting.ends_at is not None:
        _end_memberships(session, posting.account_id, at=posting.ends_at, keep=None)


def _end_memberships(session: Session, account_id: UUID, *, at: datetime, keep: str | None) -> None:
    """Memberships end when the posting that carries them does, but for grids below a territory that is kept."""
    query = select(Membership).where(
        Membership.account_id == account_id, or_(col(Membership.ends_at).is_(None), col(Membership.ends_at) > at)
    )
    for membership in session.exec(query):
        if keep is None or not membership.grid_id.startswith(keep):
            membership.ends_at = max(at, membership.starts_at)
    session.flush()
