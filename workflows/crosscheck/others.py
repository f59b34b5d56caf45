"""Other entries that one entry may repeat: of the same human or thing, or of the same matter nearby."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import h3
from sqlmodel import Session, col, select

from backend.core import statements
from backend.core.enums import Kind, ReportState, SourceType
from backend.models import Document, Report
from backend.services import records
from workflows.crosscheck.entries import Key, key_of, moment_of, open_reports
from workflows.crosscheck.facts import Entry, Neighbour, Source, place_of
from workflows.crosscheck.ruleset import EventRules

RING = 1
"""Cells around an event's own: at resolution 9 they reach at least 150 m in every direction."""


def twins_of(
    session: Session, entries: Sequence[Entry], indexes: Mapping[Source, records.Indexes]
) -> dict[Source, list[UUID]]:
    """Live documents of the same human, house code, USCC or component id that the server had earlier."""
    keys = {entry.source: _key(entry, indexes[entry.source]) for entry in entries}
    table = _documents_by_key(session, {key for key in keys.values() if key})
    twins: dict[Source, list[UUID]] = {}
    for entry in entries:
        key = keys[entry.source]
        mine = (entry.known_since, entry.source.id)
        twins[entry.source] = [other for since, other in table.get(key, ()) if (since, other) < mine] if key else []
    return twins


def _key(entry: Entry, indexes: records.Indexes) -> Key | None:
    """A declaration says something about an entry, and repeats none."""
    return None if entry.source.type is SourceType.DECLARATION else key_of(entry, indexes)


def _documents_by_key(session: Session, keys: set[Key]) -> Mapping[Key, list[tuple[datetime, UUID]]]:
    """Live documents by key, the earliest first."""
    table: dict[Key, list[tuple[datetime, UUID]]] = defaultdict(list)
    for key, since, document_id in sorted((*_same_human(session, keys), *_same_code(session, keys)), key=_by_time):
        table[key].append((since, document_id))
    return table


def _by_time(found: tuple[Key, datetime, UUID]) -> tuple[datetime, UUID]:
    return found[1:]


def _same_human(session: Session, keys: set[Key]) -> Iterable[tuple[Key, datetime, UUID]]:
    wanted = sorted({value for _, value in keys if isinstance(value, bytes)})
    rows = statements.rows(session, _SAME_HUMAN, {"indexes": wanted}) if wanted else ()
    for kind, id_index, since, document_id in rows:
        yield (Kind(kind), id_index), since, document_id


def _same_code(session: Session, keys: set[Key]) -> Iterable[tuple[Key, datetime, UUID]]:
    wanted = [(kind.value, code) for kind, code in keys if isinstance(code, str)]
    named = {"kinds": [kind for kind, _ in wanted], "codes": [code for _, code in wanted]}
    rows = statements.rows(session, _SAME_CODE, named) if wanted else ()
    for kind, code, since, document_id in rows:
        yield (Kind(kind), code), since, document_id


def neighbours_of(session: Session, events: Sequence[Entry], rules: EventRules) -> dict[Source, list[Neighbour]]:
    """Events and submitted reports in the cells around each event, that came before it and may be as recent.

    The exact distance, time and class are for the rules to compare.
    """
    cells = {entry.source: _cells_around(entry) for entry in events}
    wanted = {cell for around in cells.values() for cell in around}
    if not wanted:
        return {}
    times = [entry.happened_at for entry in events if entry.happened_at]
    since = min(times) - timedelta(hours=rules.similar_hours)
    until = max(entry.known_since for entry in events)
    table: dict[str, list[Neighbour]] = defaultdict(list)
    for cell, neighbour in (*_events(session, wanted, since, until), *_reports(session, wanted, since, until)):
        table[cell].append(neighbour)
    return {source: [other for cell in around for other in table[cell]] for source, around in cells.items()}


def _cells_around(entry: Entry) -> list[str]:
    cell = records.cell_of(entry.fields.get("location")) if entry.happened_at else None
    return sorted(h3.grid_disk(cell, RING)) if cell else []


def _events(
    session: Session, cells: Iterable[str], since: datetime, until: datetime
) -> Iterable[tuple[str, Neighbour]]:
    """An event is known to the server only after it happened, so `since` bounds the time of its row, too."""
    query = select(Document.id, Document.h3_cell, Document.body, Document.created_at).where(
        Document.kind == Kind.EVENT,
        col(Document.h3_cell).in_(cells),
        col(Document.deleted).is_(False),
        col(Document.created_at).between(since, until),
    )
    for document_id, cell, body, known_since in session.exec(query):
        happened_at = moment_of(body.get("occurred_at"))
        neighbour = _neighbour(SourceType.DOCUMENT, document_id, body, happened_at, known_since)
        if neighbour and cell:
            yield cell, neighbour


def _reports(
    session: Session, cells: Iterable[str], since: datetime, until: datetime
) -> Iterable[tuple[str, Neighbour]]:
    query = select(Report).where(
        Report.state == ReportState.SUBMITTED,
        col(Report.h3_cell).in_(cells),
        col(Report.submitted_at).between(since, until),
    )
    reports = session.exec(query).all()
    told = open_reports(session, reports)
    for report in reports:
        fields = {**report.body, **told.get(report.id, {})}
        neighbour = _neighbour(SourceType.REPORT, report.id, fields, report.submitted_at, report.submitted_at)
        if neighbour and report.h3_cell:
            yield report.h3_cell, neighbour


def _neighbour(
    source_type: SourceType,
    source_id: UUID,
    fields: Mapping[str, Any],
    happened_at: datetime | None,
    known_since: datetime | None,
) -> Neighbour | None:
    place = place_of(fields)
    if place is None or happened_at is None or known_since is None:
        return None
    return Neighbour(source_type, source_id, fields.get("class_code"), happened_at, known_since, place)


_SAME_HUMAN = """
    SELECT CAST(kind AS text), id_index, created_at, id FROM document
    WHERE id_index = ANY(%(indexes)b::bytea[]) AND NOT deleted
"""
_SAME_CODE = """
    SELECT CAST(d.kind AS text), CAST(d.natural_key AS text), d.created_at, d.id
    FROM unnest(%(kinds)b::text[], %(codes)b::text[]) AS wanted (kind, code)
    JOIN document d ON d.kind = wanted.kind AND d.natural_key = wanted.code
    WHERE NOT d.deleted
"""
