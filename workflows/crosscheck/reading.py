"""Verdicts as they are shown: to grid workers of the grids they hold now, to office roles of their territory.

What the entry says is shown to its grid worker as he collected it; all other personal values are masked.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, func, or_
from sqlmodel import Session, col, select

from backend.core.clock import now
from backend.core.enums import Kind, Role, SourceType, VerdictKind
from backend.core.errors import NotFound
from backend.models import Declaration, Document, Report, Verdict
from backend.services import territory
from backend.services.documents import merged_ids
from backend.services.evidence import Item, open_evidence
from backend.services.masking import shown
from backend.services.scope import OFFICE_ROLES, in_territory
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from workflows.crosscheck.facts import DERIVED
from workflows.crosscheck.schemas import EvidenceOut, Summary, VerdictDetail, VerdictOut

READERS = (Role.GRID_WORKER, *OFFICE_ROLES)
TABLES: Mapping[SourceType, Any] = {
    SourceType.DOCUMENT: Document,
    SourceType.REPORT: Report,
    SourceType.DECLARATION: Declaration,
}


def verdicts_of(session: Session, caller: Caller, source_type: SourceType, source_id: UUID) -> list[VerdictOut]:
    """The verdicts on one entry, the newest first, with those on duplicates that were joined into it and those that
    a later check has replaced.

    `NotFound` where the entry is outside the caller's scope.
    """
    check_visible(session, caller, source_type, source_id)
    ids = merged_ids(session, source_id) if source_type is SourceType.DOCUMENT else [source_id]
    query = select(Verdict).where(Verdict.source_type == source_type, col(Verdict.source_id).in_(ids))
    found = session.exec(query.order_by(col(Verdict.created_at).desc(), col(Verdict.id).desc())).all()
    return [VerdictOut.model_validate(verdict) for verdict in found]


def check_visible(session: Session, caller: Caller, source_type: SourceType, source_id: UUID) -> None:
    """`NotFound` where an entry is outside the caller's scope."""
    table = TABLES[source_type]
    visible = select(table.id).where(table.id == source_id, _visible(session, caller, source_type))
    if session.exec(visible).first() is None:
        raise NotFound


def verdict_with_evidence(session: Session, caller: Caller, verdict_id: UUID) -> VerdictDetail:
    """One verdict with its evidence, masked. `NotFound` where its entry is outside the caller's scope."""
    query = select(Verdict).where(Verdict.id == verdict_id)
    verdict = session.exec(_with_sources(query).where(_in_scope(session, caller))).first()
    if verdict is None:
        raise NotFound
    items = open_evidence(Vault(session), {verdict.id: verdict.evidence})[verdict.id]
    evidence = [_shown(verdict.kind, item, own=caller.role is Role.GRID_WORKER) for item in items]
    return VerdictDetail(**VerdictOut.model_validate(verdict).model_dump(), evidence=evidence)


def summary(session: Session, caller: Caller) -> Summary:
    """How many verdicts of each kind are in force on the entries in the caller's scope."""
    query = select(Verdict.source_type, Verdict.verdict, func.count()).where(col(Verdict.superseded_at).is_(None))
    query = query.group_by(col(Verdict.source_type), col(Verdict.verdict))
    counts: dict[VerdictKind, int] = {}
    sources: dict[SourceType, int] = {}
    for source_type, verdict, count in session.exec(_with_sources(query).where(_in_scope(session, caller))).all():
        counts[verdict] = counts.get(verdict, 0) + count
        sources[source_type] = sources.get(source_type, 0) + count
    ordered = {kind: counts[kind] for kind in VerdictKind if kind in counts}
    return Summary(total=sum(counts.values()), by_verdict=ordered, by_source=sources)


def _with_sources(query: Any) -> Any:
    """Join the entry as it is now: scope follows where it lies today, not where it lay when it was checked."""
    kind, entry = col(Verdict.source_type), col(Verdict.source_id)
    for source_type, table in TABLES.items():
        query = query.outerjoin(table, and_(kind == source_type, col(table.id) == entry))
    return query


def _in_scope(session: Session, caller: Caller) -> ColumnElement[bool]:
    return or_(
        *(
            and_(col(table.id).is_not(None), _visible(session, caller, source_type))
            for source_type, table in TABLES.items()
        )
    )


def _visible(session: Session, caller: Caller, source_type: SourceType) -> ColumnElement[bool]:
    """Whether an entry lies in the caller's scope. Reports and declarations are no worker's."""
    if caller.role is Role.GRID_WORKER:
        held = territory.held_grids(session, caller.account_id, at=now())
        return col(Document.grid_id).in_(held) if source_type is SourceType.DOCUMENT else false()
    if caller.role not in OFFICE_ROLES:
        return false()
    return in_territory(TABLES[source_type].grid_id, caller)


def _shown(kind: Kind, item: Item, *, own: bool) -> EvidenceOut:
    """`own`: the entry's side is the caller's own work and shown as it is."""
    name = item["field"]
    visible: Mapping[str, Any] = item
    if name not in DERIVED:
        mine = item.get("mine") if own else shown(kind, name, item.get("mine"))
        visible = item | {"mine": mine, "theirs": shown(kind, name, item.get("theirs"))}
    return EvidenceOut.model_validate(visible)
