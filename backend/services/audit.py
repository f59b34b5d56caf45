"""The audit trail: one row for each change of state, written in the transaction that makes the change.

Entries stay for months and are read by people who may not see personal data, so nothing personal may get in: every
text is an id, a code or a name of ours (`[A-Za-z0-9_.:,-]`, at most 64), and no number looks like a citizen's id number
or a phone. Development and tests refuse anything else; production writes the entry with the value withheld and logs
where it came from, because an action that was done must be in the trail.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from sqlmodel import Session

from backend.core.clock import now
from backend.core.ids import new_id
from backend.core.logging import get_logger
from backend.core.settings import get_settings
from backend.core.statements import execute

WITHHELD = "withheld"
_CODE = re.compile(r"[A-Za-z0-9_.:,-]{0,64}")
_PERSONAL = re.compile(r"(?<![0-9A-Za-z])(?:1[3-9]\d{9}|[1-9]\d{16}[0-9Xx])(?![0-9A-Za-z])")
"""A mobile phone's number, or a citizen's id number: made of the same characters as codes, and none."""
_LARGEST_COUNT = 9_999_999_999

log = get_logger(__name__)


def record(
    session: Session, *, actor: str, action: str, object_type: str, object_id: str, **detail: str | int | None
) -> None:
    """Append one entry. `actor` is an account id or the name of a job; `detail` holds ids, codes and counts only.

    `ValueError` outside production where a value is anything else.
    """
    record_many(session, actor=actor, action=action, object_type=object_type, entries=[(object_id, detail)])


def record_many(
    session: Session,
    *,
    actor: str,
    action: str,
    object_type: str,
    entries: list[tuple[str, dict[str, Any]]],
    requests: Sequence[str | None] | None = None,
) -> None:
    """Append entries of one action with one statement; each is an object id and its detail.

    `requests` are the ids of the requests they come from; where there is none it is the context's.
    """
    if not entries:
        return
    moment, request_id = now(), structlog.contextvars.get_contextvars().get("request_id")
    action = _lawful("an action", "action", action)
    actor, object_type = _lawful(action, "actor", actor), _lawful(action, "object_type", object_type)
    execute(
        session,
        _INSERT,
        {
            "at": moment,
            "actor": actor,
            "action": action,
            "object_type": object_type,
            "requests": [asked or request_id for asked in requests or [None] * len(entries)],
            "ids": [new_id() for _ in entries],
            "objects": [_lawful(action, "object_id", object_id) for object_id, _ in entries],
            "details": [msgspec.json.encode(_lawful_detail(action, detail)).decode() for _, detail in entries],
        },
    )


def _lawful_detail(action: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    return {_lawful(action, "key", key): _lawful(action, key, value) for key, value in detail.items()}


def _lawful(action: str, name: str, value: Any) -> Any:
    """The value as it may stand in the trail; `ValueError` outside production where it may not."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= _LARGEST_COUNT:
        return value
    if isinstance(value, str) and _CODE.fullmatch(value) and not _PERSONAL.search(value):
        return value
    if get_settings().environment != "production":
        raise ValueError(f"audit of {action}: {name} is no id, code or count")
    log.error("audit value withheld", action=action, name=name)
    return WITHHELD


_INSERT = """
    INSERT INTO audit_entry (id, at, actor, action, object_type, object_id, request_id, detail)
    SELECT entry.id, %(at)s, %(actor)s::text, %(action)s::text, %(object_type)s::text, entry.object_id,
           entry.request_id, CAST(entry.detail AS json)
    FROM unnest(%(ids)b::uuid[], %(objects)b::text[], %(details)b::text[], %(requests)b::text[])
         AS entry (id, object_id, detail, request_id)
"""
