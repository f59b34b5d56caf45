"""Exports: tables that leave the system, masked, watermarked, capped, and of what the asking account may see.

The request only writes down what is wanted; a job makes the file under `zw_worker`, which no row policy stops. So the
job reads the account anew and applies the reach it has at that moment, from the same table of permissions as the API.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import CITY_TIME, now
from backend.core.enums import ExportFormat, ExportWhat, FileState, Kind, Reach
from backend.core.errors import Forbidden, NotFound, ZhiwangError
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.kinds import KINDS
from backend.models import Account, Case, Document, Export, Verdict
from backend.services import audit, export_datasets, export_reconciliations, masking, postings, sealed_files
from backend.services.case_numbers import case_number
from backend.services.export_files import Content, written
from backend.services.export_schemas import ExportFilters, ExportPage, ExportRequest, ExportView
from backend.services.permissions import permissions
from backend.services.records import StoredRow, open_rows
from backend.services.scope import in_territory
from backend.services.sealed_files import FileNotReady
from backend.services.sealing import Vault, seal_value
from backend.services.sessions import Caller

ACTOR = JOB = "life.export"
OPERATION = "exports.create"
SEES = {
    ExportWhat.CASES: "cases.list",
    ExportWhat.VERDICTS: "checks.list",
    ExportWhat.RECORDS: "checks.list",
    ExportWhat.RECONCILIATION_LINKS: "reconciliations.report",
    ExportWhat.RECONCILIATION_GRIDS: "reconciliations.report",
    ExportWhat.DATASET: "registry.look_up",
}
"""Who exports a thing must be allowed to read it on the screen, too."""
OF_RECORDS = ("id", "grid_id", "version", "created_at", "updated_at")
FIELDS = {
    ExportWhat.CASES: (
        "number id state queue_code reason grid_id department_code source_type source_id opened_at deadline_at "
        "closed_at outcome"
    ).split(),
    ExportWhat.VERDICTS: (
        "id kind grid_id verdict findings score source_type source_id source_version rule_version created_at"
    ).split(),
    ExportWhat.RECONCILIATION_LINKS: export_reconciliations.LINK_FIELDS,
    ExportWhat.RECONCILIATION_GRIDS: export_reconciliations.GRID_FIELDS,
}
BATCH = 500


class ExportFieldUnknown(ZhiwangError):
    """`fields` names those that may be exported."""

    code = "export_field_unknown"
    status = 422
    title_zh = "导出字段不存在，请重新选择"
    title_en = "There is no such field to export"


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    truncated: bool = False


def ask(session: Session, *, caller: Caller, request: ExportRequest) -> ExportView:
    """Write down what an account wants exported. `Forbidden` where it may not read that, `ExportFieldUnknown`.

    `NotFound` for a reconciliation that is not done or lies outside the account's territory, and for an unknown
    dataset; `ExportGrade` for one that is no general data.
    """
    if not _may(caller, request.what):
        raise Forbidden
    known = fields_of(session, request.what, request.filters)
    if unknown := sorted(set(request.fields) - set(known)):
        raise ExportFieldUnknown(unknown=len(unknown), fields=known)
    if request.filters.reconciliation_id is not None:
        export_reconciliations.done(session, caller, request.filters.reconciliation_id)
    export_id = new_id()
    row = Export(
        id=export_id,
        what=request.what,
        kind=request.filters.kind,
        filters=request.filters.model_dump(mode="json", exclude_none=True),
        fields=list(dict.fromkeys(request.fields)) or known,
        format=request.format,
        purpose_code=request.purpose_code,
        purpose=seal_value(session, export_id.bytes, request.purpose, context=export_id.bytes),
        state=FileState.REQUESTED,
        requested_by=caller.account_id,
        requested_at=now(),
    )
    session.add(row)
    session.flush()
    jobs.enqueue(session, JOB, key=str(export_id), export_id=str(export_id))
    _audit(session, str(caller.account_id), "export_requested", row, purpose=row.purpose_code.value)
    return _view(row)


def fields_of(session: Session, what: ExportWhat, filters: ExportFilters) -> list[str]:
    """What may be exported of a thing. `NotFound` and `ExportGrade` for a dataset."""
    if what is ExportWhat.DATASET:
        return export_datasets.fields_of(session, filters.dataset)
    if what is not ExportWhat.RECORDS:
        return list(FIELDS[what])
    assert filters.kind is not None
    return [*OF_RECORDS, *(name for name in KINDS[filters.kind].model.model_fields if name not in OF_RECORDS)]


def run(session: Session, *, export_id: UUID) -> None:
    """Make the file of an export. Refused where the account ended, or may no longer see such things."""
    row = session.exec(select(Export).where(Export.id == export_id).with_for_update()).first()
    if row is None:
        raise jobs.Discard("export_unknown")
    if row.state is not FileState.REQUESTED:
        return
    caller = _caller_now(session, row.requested_by)
    if caller is None or not _may(caller, row.what):
        row.state, row.finished_at = FileState.REFUSED, now()
        _audit(session, ACTOR, "export_refused", row)
        return
    tally, key = _Tally(), f"exports/{export_id}"
    content = Content(row.fields, _mark(row, caller), str(row.id), _rows(session, row, caller, tally))
    sealed_files.keep(key, written(row.format, content), context=_context(export_id))
    row.object_key, row.rows, row.truncated = key, tally.rows, tally.truncated
    row.state, row.finished_at = FileState.READY, now()
    row.expires_at = row.finished_at + timedelta(days=get_settings().export_days)
    _audit(session, ACTOR, "export_made", row, rows=tally.rows)


def read(session: Session, *, caller: Caller, export_id: UUID) -> ExportView:
    """An export the caller may see. `NotFound` for others."""
    return _view(_own(session, caller, export_id))


def list_exports(session: Session, *, caller: Caller, limit: int, before: UUID | None) -> ExportPage:
    """The caller's exports, or everybody's for those who watch over them, newest first."""
    page = select(Export).order_by(col(Export.id).desc()).limit(limit + 1)
    if Reach.ANY not in caller.reach:
        page = page.where(Export.requested_by == caller.account_id)
    if before is not None:
        page = page.where(col(Export.id) < before)
    rows = session.exec(page).all()
    more = rows[limit - 1].id if len(rows) > limit else None
    return ExportPage(exports=[_view(row) for row in rows[:limit]], next=more)


def fetch(session: Session, *, caller: Caller, export_id: UUID) -> tuple[ExportFormat, Iterator[bytes]]:
    """The file of the caller's own export. `FileNotReady`, `FileGone`, and `NotFound` for others' exports."""
    row = _own(session, caller, export_id)
    sealed_files.check_ready(row.state, row.expires_at)
    assert row.object_key is not None
    _audit(session, str(caller.account_id), "export_fetched", row, rows=row.rows)
    return row.format, sealed_files.read(row.object_key, context=_context(export_id))


def _own(session: Session, caller: Caller, export_id: UUID) -> Export:
    row = session.get(Export, export_id)
    if row is None or (row.requested_by != caller.account_id and Reach.ANY not in caller.reach):
        raise NotFound
    return row


def _may(caller: Caller, what: ExportWhat) -> bool:
    """Whether the role both exports and reads such things, now."""
    table = permissions()
    exports, reads = (table[name].reach.get(caller.role, frozenset()) for name in (OPERATION, SEES[what]))
    some = exports & {Reach.TERRITORY, Reach.DEPARTMENT}
    return bool(some and (some & reads or Reach.ANY in reads))


def _caller_now(session: Session, account_id: UUID) -> Caller | None:
    """The account as it stands, not as it stood when it asked."""
    account, posting = session.get(Account, account_id), postings.current(session, account_id)
    if account is None or posting is None or not account.active:
        return None
    return Caller(account_id, posting.role, None, posting.territory_code, posting.department_code)


def _mark(row: Export, caller: Caller) -> str:
    """The watermark: whose export it is, when and for what."""
    stamp = now().astimezone(CITY_TIME).isoformat(timespec="seconds")
    return f"# 导出账号 {caller.account_id} 时间 {stamp} 用途 {row.purpose_code.value} 导出编号 {row.id}"


def _rows(session: Session, row: Export, caller: Caller, tally: _Tally) -> Iterator[dict[str, Any]]:
    filters = ExportFilters.model_validate(row.filters)
    most = get_settings().export_max_rows
    for cells in _READING[row.what](session, caller, filters, most + 1):
        if tally.rows == most:
            tally.truncated = True
            return
        tally.rows += 1
        yield cells


def _cases(session: Session, caller: Caller, filters: ExportFilters, limit: int) -> Iterator[dict[str, Any]]:
    query = select(Case).where(_seen(Case, caller), *_between(Case.opened_at, filters), *_below(Case.grid_id, filters))
    if filters.case_state is not None:
        query = query.where(Case.state == filters.case_state)
    for case in session.exec(query.order_by(col(Case.id)).limit(limit).execution_options(yield_per=BATCH)):
        assert case.seq is not None
        yield {**case.model_dump(), "number": case_number(case.opened_at, case.seq)}


def _verdicts(session: Session, caller: Caller, filters: ExportFilters, limit: int) -> Iterator[dict[str, Any]]:
    within = (*_between(Verdict.created_at, filters), *_below(Verdict.grid_id, filters))
    query = select(Verdict).where(_seen(Verdict, caller), col(Verdict.superseded_at).is_(None), *within)
    if filters.verdict is not None:
        query = query.where(Verdict.verdict == filters.verdict)
    for verdict in session.exec(query.order_by(col(Verdict.id)).limit(limit).execution_options(yield_per=BATCH)):
        yield verdict.model_dump(exclude={"evidence"})


def _records(session: Session, caller: Caller, filters: ExportFilters, limit: int) -> Iterator[dict[str, Any]]:
    """Records, opened and masked a batch at a time."""
    assert filters.kind is not None
    query = select(Document).where(
        Document.kind == filters.kind,
        col(Document.deleted).is_(False),
        _seen(Document, caller),
        *_between(Document.updated_at, filters),
        *_below(Document.grid_id, filters),
    )
    found = session.exec(query.order_by(col(Document.id)).limit(limit).execution_options(yield_per=BATCH))
    for batch in found.partitions(BATCH):
        yield from _masked(session, filters.kind, list(batch))


def _masked(session: Session, kind: Kind, rows: Sequence[Document]) -> Iterator[dict[str, Any]]:
    opened = open_rows(session, [StoredRow(row.id, row.body, row.sealed) for row in rows], vault=Vault(session))
    for row, fields in zip(rows, opened, strict=True):
        shown = {name: masking.shown(kind, name, value) for name, value in fields.items()}
        yield shown | {name: getattr(row, name) for name in OF_RECORDS}


def _seen(model: Any, caller: Caller) -> Any:
    """What the account may see now: a desk its territory, a department what was dispatched to it."""
    reach = permissions()[OPERATION].reach[caller.role]
    if Reach.TERRITORY in reach:
        return in_territory(model.grid_id, caller)
    return col(Case.department_code) == (caller.department_code or "")


def _between(column: Any, filters: ExportFilters) -> list[Any]:
    conditions = []
    if filters.since is not None:
        conditions.append(col(column) >= _start_of(filters.since))
    if filters.until is not None:
        conditions.append(col(column) < _start_of(filters.until + timedelta(days=1)))
    return conditions


def _below(column: Any, filters: ExportFilters) -> list[Any]:
    return [] if filters.grid_prefix is None else [col(column).startswith(filters.grid_prefix, autoescape=True)]


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=CITY_TIME)


def _context(export_id: UUID) -> bytes:
    return b"export" + export_id.bytes


def _audit(session: Session, actor: str, action: str, row: Export, **detail: str | int) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="export",
        object_id=str(row.id),
        what=row.what.value,
        **detail,
    )


_READING = {
    ExportWhat.CASES: _cases,
    ExportWhat.VERDICTS: _verdicts,
    ExportWhat.RECORDS: _records,
    ExportWhat.RECONCILIATION_LINKS: export_reconciliations.links,
    ExportWhat.RECONCILIATION_GRIDS: export_reconciliations.grids,
    ExportWhat.DATASET: export_datasets.rows,
}


def _view(row: Export) -> ExportView:
    return ExportView.model_validate(row, from_attributes=True)


__all__ = ["ExportFieldUnknown", "FileNotReady", "ask", "fetch", "fields_of", "list_exports", "read", "run"]
