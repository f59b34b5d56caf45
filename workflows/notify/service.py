"""Notices: written once per recipient and key, read in an inbox.

The row is the notice; sending only wakes its reader.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import CaseState, SourceType
from backend.core.errors import Forbidden, NotFound
from backend.core.ids import new_id
from backend.models import Case, CaseStep, Device, Notice, Report
from backend.services import audit
from backend.services.case_numbers import case_number
from backend.services.sessions import Caller
from workflows.notify.push import TargetKind
from workflows.notify.schemas import Inbox, NoticeView
from workflows.notify.templates import TEMPLATES, render

SEND_JOB = "workflows.notify.send"
CITIZEN_IS_TOLD = frozenset({CaseState.REGISTERED, CaseState.DISPATCHED, CaseState.CLOSED, CaseState.REJECTED})


class RecipientType(StrEnum):
    """Who a notice is for."""

    ACCOUNT = "account"
    CITIZEN = "citizen"


@dataclass(frozen=True, slots=True)
class Recipient:
    """An account or a citizen by id."""

    type: RecipientType
    id: UUID


def tell(session: Session, recipient: Recipient, *, key: str, template: str, values: Mapping[str, Any]) -> None:
    """Write a notice and the job that sends it; nothing where the recipient has one of this key already.

    `values` are ids, numbers and codes: they are stored readable.
    """
    assert template in TEMPLATES
    written = session.connection().scalar(
        insert(Notice)
        .values(
            id=new_id(),
            recipient_type=recipient.type,
            recipient_id=recipient.id,
            key=key,
            template=template,
            payload=dict(values),
            created_at=now(),
        )
        .on_conflict_do_nothing(index_elements=["recipient_id", "key"])
        .returning(col(Notice.id))
    )
    if written is not None:
        jobs.enqueue(session, SEND_JOB, key=str(written), notice_id=str(written))


def case_changed(session: Session, *, case_id: UUID, version: int) -> None:
    """Tell the collector, or the citizen of a report, what a version of a case did to its state.

    A collector hears of every change of state, a citizen of the milestones in `CITIZEN_IS_TOLD`.
    """
    case, step = session.get(Case, case_id), session.get(CaseStep, (case_id, version))
    if case is None or step is None:
        raise jobs.Discard("case_version_unknown")
    recipient = _recipient_of(session, case)
    if recipient is None or step.from_state == step.to_state:
        return
    if recipient.type is RecipientType.CITIZEN and step.to_state not in CITIZEN_IS_TOLD:
        return
    values = {"case_id": str(case_id), "number": _number(case), "state": step.to_state.value}
    tell(session, recipient, key=f"case:{case_id}:{version}", template="case_changed", values=values)


def inbox(session: Session, caller: Caller, *, limit: int, before: UUID | None = None) -> Inbox:
    """The caller's notices, newest first; `before` is the `next` of the page before."""
    mine = (Notice.recipient_type == RecipientType.ACCOUNT, Notice.recipient_id == caller.account_id)
    page = select(Notice).where(*mine).order_by(col(Notice.id).desc()).limit(limit + 1)
    if before is not None:
        page = page.where(col(Notice.id) < before)
    rows = session.exec(page).all()
    unread = session.exec(select(func.count()).select_from(Notice).where(*mine, col(Notice.read_at).is_(None))).one()
    more = rows[limit - 1].id if len(rows) > limit else None
    return Inbox(notices=[_view(row) for row in rows[:limit]], unread=unread, next=more)


def mark_read(session: Session, caller: Caller, *, notice_id: UUID) -> NoticeView:
    """Mark one of the caller's notices as read; a second time changes nothing. `NotFound` for anybody else's."""
    found = select(Notice).where(Notice.id == notice_id, Notice.recipient_type == RecipientType.ACCOUNT)
    notice = session.exec(found.where(Notice.recipient_id == caller.account_id).with_for_update()).first()
    if notice is None:
        raise NotFound
    if notice.read_at is None:
        notice.read_at = now()
        audit.record(
            session,
            actor=str(caller.account_id),
            action="notice_read",
            object_type="notice",
            object_id=str(notice_id),
        )
    return _view(notice)


def set_push_target(session: Session, caller: Caller, *, target: str, kind: TargetKind) -> None:
    """Where FCM finds the caller's handheld. Another device that had the same target loses it: the phone moved on.

    `Forbidden` for a login without a device.
    """
    if caller.device_id is None:
        raise Forbidden("only a device has a push target")
    others = (col(Device.push_target) == target, col(Device.id) != caller.device_id)
    session.connection().execute(update(Device).where(*others).values(push_target=None, push_target_kind=None))
    device = session.get_one(Device, caller.device_id)
    device.push_target, device.push_target_kind = target, kind.value
    audit.record(
        session,
        actor=str(caller.account_id),
        action="push_target_set",
        object_type="device",
        object_id=str(caller.device_id),
        kind=kind.value,
    )


def _recipient_of(session: Session, case: Case) -> Recipient | None:
    if case.source_type is SourceType.REPORT:
        report = session.get(Report, case.source_id)
        return Recipient(RecipientType.CITIZEN, report.citizen_id) if report else None
    return Recipient(RecipientType.ACCOUNT, case.collected_by) if case.collected_by else None


def _number(case: Case) -> str:
    assert case.seq is not None  # the database gave it
    return case_number(case.opened_at, case.seq)


def _view(notice: Notice) -> NoticeView:
    text = render(notice.template, notice.payload)
    return NoticeView(
        id=notice.id,
        template=notice.template,
        title=text.title,
        body=text.body,
        payload=notice.payload,
        created_at=notice.created_at,
        read_at=notice.read_at,
    )
