"""Entries as they were at the version that is to be checked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.json import decode
from sqlmodel import Session, col, select

from backend.core import statements
from backend.core.enums import Kind, ReportState, SourceType
from backend.kinds import KINDS
from backend.models import Report
from backend.services import records, sealing
from backend.services.sealing import Vault
from workflows.crosscheck.facts import Entry, Source

MISSING, TOMBSTONE, ERASED = "source_missing", "source_deleted", "source_erased"
"""Why a source has nothing to check; reasons of discarded jobs."""


Key = tuple[Kind, bytes | str]
"""A kind, and the identity that entries of it share: a human's blind index, or the code of a thing."""


@dataclass(slots=True)
class Loaded:
    """The entries that can be checked, and for the other sources why not."""

    entries: list[Entry] = field(default_factory=list)
    refused: dict[Source, str] = field(default_factory=dict)


def load(session: Session, sources: Iterable[Source], *, vault: Vault | None = None) -> Loaded:
    """Read and open the named versions, with a fixed number of statements for any number of sources.

    `vault` keeps the keys of those who are documents' subjects, for who comes after.
    """
    sources = list(sources)
    loaded = Loaded(refused=dict.fromkeys(sources, MISSING))
    vault = vault or Vault(session)
    for wanted, read in _READERS.items():
        for source, found in read(session, [source for source in sources if source.type is wanted], vault):
            if isinstance(found, Entry):
                del loaded.refused[source]
                loaded.entries.append(found)
            else:
                loaded.refused[source] = found
    return loaded


def _documents(session: Session, sources: Sequence[Source], vault: Vault) -> Iterable[tuple[Source, Entry | str]]:
    return _versions(session, sources, vault, _DOCUMENTS)


def _declarations(session: Session, sources: Sequence[Source], vault: Vault) -> Iterable[tuple[Source, Entry | str]]:
    """One that was withdrawn says nothing any more, as a deleted record does."""
    return _versions(session, sources, vault, _DECLARATIONS)


def _versions(
    session: Session, sources: Sequence[Source], vault: Vault, query: str
) -> Iterable[tuple[Source, Entry | str]]:
    if not sources:
        return
    named = {"ids": [source.id for source in sources], "versions": [source.version for source in sources]}
    rows = statements.rows(session, query, named)
    stored = [records.StoredRow(row[0], decode(row[4]), row[5]) for row in rows]
    opened = records.open_rows(session, stored, vault=vault, fresh=True)
    source_type = sources[0].type
    for (entry_id, version, grid_id, deleted, _, sealed, code, since), fields in zip(rows, opened, strict=True):
        source, kind = Source(source_type, entry_id, version), Kind(code)
        if deleted:
            yield source, TOMBSTONE
        elif KINDS[kind].subject_is_human and sealed is not None and "name" not in fields:
            yield source, ERASED
        else:
            yield source, Entry(source, kind, grid_id, fields, since, moment_of(fields.get("occurred_at")))


def _reports(session: Session, sources: Sequence[Source], _: Vault) -> Iterable[tuple[Source, Entry | str]]:
    """A citizen's report is checked as an event of the time it was sent in."""
    if not sources:
        return
    found = session.exec(select(Report).where(col(Report.id).in_([source.id for source in sources]))).all()
    reports = {(report.id, report.version): report for report in found if report.state is ReportState.SUBMITTED}
    opened = open_reports(session, reports.values())
    for source in sources:
        report = reports.get((source.id, source.version))
        if report is None:
            continue
        told = opened.get(report.id)
        if told is None:
            yield source, ERASED
        else:
            fields = {**report.body, **told}
            since = report.submitted_at or report.opened_at
            yield source, Entry(source, Kind.EVENT, report.grid_id, fields, since, since)


def key_of(entry: Entry, indexes: records.Indexes) -> Key | None:
    """What the entry is about, by its own number; None where it has none."""
    value = indexes.id_index or indexes.natural_key
    return (entry.kind, value) if value else None


def open_reports(session: Session, reports: Iterable[Report]) -> dict[UUID, dict[str, Any]]:
    """What citizens told (`text`, `location`, `photo_ids`), without those who were erased."""
    blobs = {report.id.bytes: report.sealed for report in reports}
    return {UUID(bytes=context): value for context, value in sealing.open_values(session, blobs).items()}


def moment_of(text: Any) -> datetime | None:
    """A time as a record writes it, None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


_READERS = {
    SourceType.DOCUMENT: _documents,
    SourceType.REPORT: _reports,
    SourceType.DECLARATION: _declarations,
}
_DOCUMENTS = """
    SELECT v.document_id, v.version, CAST(v.grid_id AS text), v.deleted, CAST(v.body AS text), v.sealed,
           CAST(d.kind AS text), d.created_at
    FROM unnest(%(ids)b::uuid[], %(versions)b::integer[]) AS wanted (id, version)
    JOIN document_version v ON v.document_id = wanted.id AND v.version = wanted.version
    JOIN document d ON d.id = v.document_id
"""
_DECLARATIONS = """
    SELECT v.declaration_id, v.version, CAST(v.grid_id AS text), d.state <> 'in_force', CAST(v.body AS text), v.sealed,
           CAST(d.kind AS text), d.created_at
    FROM unnest(%(ids)b::uuid[], %(versions)b::integer[]) AS wanted (id, version)
    JOIN declaration_version v ON v.declaration_id = wanted.id AND v.version = wanted.version
    JOIN declaration d ON d.id = v.declaration_id
"""
