"""Notices: written once per recipient and key, read in an inbox.

The row is the notice; sending only wakes its reader.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, tuple_, update
from sqlmodel import Session, col, select

from backend import jobs
from backend.core import statements
from backend.core.clock import now
from backend.core.enums import CaseState, SourceType
from backend.core.errors import Forbidden, NotFound
from backend.core.ids import new_id
from backend.models import Case, CaseStep, Device, Notice, Report
from backend.services import audit
from backend.services.case_numbers import case_number
from backend.services.sessions import Caller
from workflows.notify.push import PushResult, TargetKind
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


@dataclass(frozen=True, slots=True)
class Told:
    """What a recipient is told: once for each key. `values` are ids, numbers and codes: they are stored readable."""

    recipient: Recipient
    key: str
    template: str
    values: Mapping[str, Any]
    request_id: str | None = None


def tell(session: Session, recipient: Recipient, *, key: str, template: str, values: Mapping[str, Any]) -> None:
    """Write a notice and the job that sends it; nothing where the recipient has one of this key already, and no job
    where he has no handheld that can be woken: the inbox is all there is then."""
    tell_many(session, [Told(recipient, key, template, values)])


def tell_many(session: Session, told: Sequence[Told]) -> None:
    """The same for many, with one statement for the notices and one for the jobs."""
    assert {one.template for one in told} <= TEMPLATES.keys()
    if not told:
        return
    ids, waking = [new_id() for _ in told], _reachable_among(session, [one.recipient for one in told])
    named = {
        "ids": ids,
        "types": [one.recipient.type.value for one in told],
        "recipients": [one.recipient.id for one in told],
        "keys": [one.key for one in told],
        "templates": [one.template for one in told],
        "results": [None if one.recipient in waking else PushResult.INBOX_ONLY.value for one in told],
        "payloads": [msgspec.json.encode(one.values).decode() for one in told],
        "now": now(),
    }
    written = {notice_id for (notice_id,) in statements.rows(session, _WRITE, named)}
    jobs.enqueue_many(
        session,
        [
            jobs.NewJob(SEND_JOB, str(notice_id), {"notice_id": str(notice_id)}, request_id=one.request_id)
            for notice_id, one in zip(ids, told, strict=True)
            if notice_id in written and one.recipient in waking
        ],
    )


def can_be_woken() -> tuple[ColumnElement[bool], ...]:
    """What a handheld must be for a wake-up to be sent to it."""
    return col(Device.revoked_at).is_(None), col(Device.push_target).is_not(None)


def _reachable_among(session: Session, recipients: Collection[Recipient]) -> set[Recipient]:
    accounts = [one.id for one in recipients if one.type is RecipientType.ACCOUNT]
    reachable = set(
        session.exec(select(Device.account_id).where(col(Device.account_id).in_(accounts), *can_be_woken()))
    )
    return {one for one in recipients if one.type is RecipientType.CITIZEN or one.id in reachable}


@dataclass(frozen=True, slots=True)
class Changed:
    """A version of a case, and the request that made it."""

    case_id: UUID
    version: int
    request_id: str | None = None


def case_changed(session: Session, *, case_id: UUID, version: int) -> None:
    """Tell the collector, or the citizen of a report, what a version of a case did to its state.

    A collector hears of every change of state, a citizen of the milestones in `CITIZEN_IS_TOLD`. `jobs.Discard` where
    there is no such version.
    """
    if reasons := cases_changed(session, [Changed(case_id, version)]):
        raise jobs.Discard(reasons[0])


def cases_changed(session: Session, changes: Sequence[Changed]) -> dict[int, str]:
    """The same for many versions; gives the reason, by place, of those that nothing can be told about."""
    cases = {
        case.id: case for case in session.exec(select(Case).where(col(Case.id).in_([one.case_id for one in changes])))
    }
    keys = [(one.case_id, one.version) for one in changes]
    made = session.exec(select(CaseStep).where(tuple_(col(CaseStep.case_id), col(CaseStep.version)).in_(keys)))
    steps = {(step.case_id, step.version): step for step in made}
    told = [
        _told(session, cases[key[0]], steps[key], one.request_id)
        for key, one in zip(keys, changes, strict=True)
        if key in steps
    ]
    tell_many(session, [one for one in told if one is not None])
    return {place: "case_version_unknown" for place, key in enumerate(keys) if key not in steps}


def _told(session: Session, case: Case, step: CaseStep, request_id: str | None) -> Told | None:
    """What a step is worth telling to whom, None where it is worth nothing."""
    recipient = _recipient_of(session, case)
    if recipient is None or step.from_state == step.to_state:
        return None
    if recipient.type is RecipientType.CITIZEN and step.to_state not in CITIZEN_IS_TOLD:
        return None
    values = {"case_id": str(case.id), "number": _number(case), "state": step.to_state.value}
    return Told(recipient, f"case:{case.id}:{step.version}", "case_changed", values, request_id)


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


_WRITE = """
    INSERT INTO notice (id, recipient_type, recipient_id, key, template, payload, created_at, send_result)
    SELECT id, recipient_type, recipient_id, key, template, CAST(payload AS json), %(now)s, result
    FROM unnest(%(ids)b::uuid[], %(types)b::text[], %(recipients)b::uuid[], %(keys)b::text[], %(templates)b::text[],
                %(payloads)b::text[], %(results)b::text[])
         AS told (id, recipient_type, recipient_id, key, template, payload, result)
    ON CONFLICT (recipient_id, key) DO NOTHING
    RETURNING id
"""
