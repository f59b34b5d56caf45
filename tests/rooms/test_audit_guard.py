"""Nothing personal gets into the audit trail, whatever a caller sends."""

from typing import Any

import pytest
from sqlmodel import Session, select

from backend.core.settings import get_settings
from backend.models import AuditEntry
from backend.services import audit

PERSONAL = [
    "\u5f20\u4e09\u4e30",  # a synthetic name
    "13800000000",
    "x:13800000000",
    "11010519491231002X",
    "110105194912310021",
    "a text with spaces",
    "x" * 65,
    13800000000,
    1.5,
    {"name": "x"},
]
LAWFUL = [
    "",
    None,
    0,
    True,
    256 * 1024 * 1024,
    "01900000-0000-7000-8000-013800000000",
    "440305007001001",
    "document:01900000-0000-7000-8000-000000000001",
    "actor,object_id",
]


@pytest.mark.parametrize("value", PERSONAL)
def test_a_value_that_is_no_id_code_or_count_is_refused(session: Session, value: Any) -> None:
    with pytest.raises(ValueError, match="no id, code or count"):
        audit.record(session, actor="a", action="b", object_type="c", object_id="d", reason=value)


@pytest.mark.parametrize("name", ["actor", "action", "object_type", "object_id"])
def test_no_column_takes_a_text(session: Session, name: str) -> None:
    columns = {"actor": "a", "action": "b", "object_type": "c", "object_id": "d"}
    with pytest.raises(ValueError, match=name):
        audit.record(session, **{**columns, name: "\u5f20\u4e09"})


@pytest.mark.parametrize("value", LAWFUL)
def test_ids_codes_and_counts_are_kept_as_they_are(session: Session, value: Any) -> None:
    audit.record(session, actor="a", action="guarded", object_type="c", object_id="d", value=value)
    assert session.exec(select(AuditEntry.detail).where(AuditEntry.action == "guarded")).all() == [{"value": value}]


def test_production_writes_the_entry_without_the_value(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "get_settings", lambda: get_settings().model_copy(update={"environment": "production"}))
    audit.record(session, actor="a", action="guarded", object_type="c", object_id="\u5f20\u4e09", reason="13800000000")
    found = session.exec(select(AuditEntry).where(AuditEntry.action == "guarded")).one()
    assert (found.object_id, found.detail) == ("withheld", {"reason": "withheld"})
