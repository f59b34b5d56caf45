"""Which entries are to be checked again: those that a new snapshot touches, or those of a scope. A page at a time.

A record that differs between two snapshots touches the entries that share one of its keys before or after: the id
number, the phone, birth date with surname, one of the two by the name's sound, or the code. A record of a department's
own dataset is found by its key alone, and so are the entries that it touches. All of it is found in PostgreSQL, on
blind indexes. Only the version in force of an entry counts: an older one has had its say.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from backend.core import statements
from backend.core.clock import CITY_TIME
from backend.core.enums import COLLECTED_KINDS, DECLARED_KINDS, Kind, SourceType
from backend.models import Dataset, Recheck
from backend.services.export_schemas import Day
from workflows.crosscheck.facts import DATASET_OF, Source
from workflows.crosscheck.ruleset import Rules

KEYS_A_PAGE = 20_000
ENTRIES_A_PAGE = 1_000
FIRST = "00000000-0000-0000-0000-000000000000"


Collected = Literal[Kind.PERSON, Kind.HOUSE, Kind.ORGANISATION, Kind.COMPONENT, Kind.EVENT]


class Scope(BaseModel):
    """Which entries a run is about; all of them where nothing is said.

    `territory` is a division or grid code, or the beginning of one. `since` and `until` are days of the city's calendar
    on which the version in force came in, both included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: Annotated[list[Collected], Field(max_length=len(COLLECTED_KINDS))] = []
    territory: Annotated[str, Field(pattern=r"^\d{0,15}$")] = ""
    since: Day | None = None
    until: Day | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, and where the next page begins; None where there is none."""

    sources: list[Source]
    after: str | None


def page_of(session: Session, run: Recheck, rules: Rules) -> Page:
    """The next entries of a run that checks again.

    The first snapshot of a base dataset touches all entries of its kind, as not to be in it says something now. One of
    a department's own touches those that are in it, where the rules look into other sources for its kind.
    """
    if run.dataset is None:
        return in_scope(session, Scope.model_validate(run.scope), after=run.after)
    base = next((kind for kind, dataset in DATASET_OF.items() if dataset == run.dataset), None)
    if base is not None and run.previous_id is None:
        return in_scope(session, Scope.model_validate({"kinds": [base]}), after=run.after)
    if base is not None:
        return _between_snapshots(session, run, base, _PEOPLE if base is Kind.PERSON else _KEYED)
    own = session.get_one(Dataset, run.dataset).kind
    if own is None or not rules.elsewhere(own):
        return Page([], None)
    return _between_snapshots(session, run, own, _NUMBERED if own is Kind.PERSON else _KEYED)


def in_scope(session: Session, scope: Scope, *, after: str, limit: int = ENTRIES_A_PAGE) -> Page:
    """Entries of a scope by id, records before reports before declarations. `after` is what the page before said, empty
    at the start."""
    word, _, last = (after or f"{SourceType.DOCUMENT.value}:{FIRST}").partition(":")
    given = {
        "kinds": [kind.value for kind in scope.kinds or COLLECTED_KINDS],
        "below": scope.territory,
        "since": _start_of(scope.since) if scope.since else None,
        "until": _end_of(scope.until) if scope.until else None,
    }
    sources: list[Source] = []
    source_type: SourceType | None = SourceType(word)
    while source_type is not None:
        place = {"after": UUID(last), "limit": limit - len(sources)}
        found = statements.rows(session, _IN_SCOPE[source_type], {**given, **place})
        sources += [Source(source_type, *row) for row in found]
        if len(sources) == limit:
            return Page(sources, f"{source_type.value}:{sources[-1].id}")
        source_type, last = _after(source_type, scope), FIRST
    return Page(sources, None)


def _after(source_type: SourceType, scope: Scope) -> SourceType | None:
    """The next source that has entries of the kinds of a scope."""
    kinds = set(scope.kinds or COLLECTED_KINDS)
    if source_type is SourceType.DOCUMENT and Kind.EVENT in kinds:
        return SourceType.REPORT
    if source_type is not SourceType.DECLARATION and kinds.intersection(DECLARED_KINDS):
        return SourceType.DECLARATION
    return None


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, CITY_TIME)


def _end_of(day: date) -> datetime | None:
    return _start_of(day + timedelta(days=1)) if day < date.max else None


def _between_snapshots(session: Session, run: Recheck, kind: Kind, touched: str) -> Page:
    """Entries that the records of the next keys touch, where these changed; all of them where none were before."""
    given = {"new": run.snapshot_id, "old": run.previous_id, "after": run.after, "limit": KEYS_A_PAGE}
    ((upto, keys),) = statements.rows(session, _BOUND, given)
    if not keys:
        return Page([], None)
    found = statements.rows(session, _CHANGED + _in_both(touched), {**given, "upto": upto, "kind": kind.value})
    sources = [Source(SourceType(source_type), entry_id, version) for source_type, entry_id, version in found]
    return Page(sources, upto if keys == KEYS_A_PAGE else None)


def _in_both(touched: str) -> str:
    """What changed is looked for once, and what it touches among records and declarations."""
    of_each = (
        f"SELECT '{source_type}', found.* FROM ({touched.format(table=table, living=living)}) AS found"
        for source_type, (table, living) in _TABLES.items()
    )
    return " UNION ALL ".join(of_each)


_TABLES = {
    SourceType.DOCUMENT: ("document", "NOT d.deleted"),
    SourceType.DECLARATION: ("declaration", "d.state = 'in_force'"),
}
_DOCUMENTS = """
    SELECT id, version FROM document
    WHERE id > %(after)s AND kind = ANY(%(kinds)b::text[]) AND NOT deleted
      AND starts_with(grid_id, %(below)s::text)
      AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s::timestamptz)
      AND (%(until)s::timestamptz IS NULL OR updated_at < %(until)s::timestamptz)
    ORDER BY id LIMIT %(limit)s
"""
_REPORTS = """
    SELECT id, version FROM report
    WHERE id > %(after)s AND state = 'submitted'
      AND (%(below)s::text = '' OR starts_with(grid_id, %(below)s::text))
      AND (%(since)s::timestamptz IS NULL OR submitted_at >= %(since)s::timestamptz)
      AND (%(until)s::timestamptz IS NULL OR submitted_at < %(until)s::timestamptz)
    ORDER BY id LIMIT %(limit)s
"""
_DECLARATIONS = """
    SELECT id, version FROM declaration
    WHERE id > %(after)s AND state = 'in_force' AND kind = ANY(%(kinds)b::text[])
      AND (%(below)s::text = '' OR starts_with(grid_id, %(below)s::text))
      AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s::timestamptz)
      AND (%(until)s::timestamptz IS NULL OR updated_at < %(until)s::timestamptz)
    ORDER BY id LIMIT %(limit)s
"""
_IN_SCOPE = {
    SourceType.DOCUMENT: _DOCUMENTS,
    SourceType.REPORT: _REPORTS,
    SourceType.DECLARATION: _DECLARATIONS,
}
_BOUND = """
    SELECT CAST(max(record_key) AS text), count(*) FROM (
        (SELECT record_key FROM business_record WHERE snapshot_id = %(new)s AND record_key > %(after)s::text
         ORDER BY record_key LIMIT %(limit)s)
        UNION
        (SELECT record_key FROM business_record WHERE snapshot_id = %(old)s AND record_key > %(after)s::text
         ORDER BY record_key LIMIT %(limit)s)
        ORDER BY record_key LIMIT %(limit)s
    ) AS next
"""
_CHANGED = """
    WITH changed AS MATERIALIZED (
        SELECT record_key, before.phone_index AS phone_before, now.phone_index AS phone_now,
               before.block_index AS block_before, now.block_index AS block_now,
               before.name_year_index AS year_before, now.name_year_index AS year_now,
               before.name_address_index AS address_before, now.name_address_index AS address_now
        FROM (SELECT * FROM business_record
              WHERE snapshot_id = %(old)s AND record_key > %(after)s::text AND record_key <= %(upto)s::text) AS before
        FULL JOIN (SELECT * FROM business_record
              WHERE snapshot_id = %(new)s AND record_key > %(after)s::text AND record_key <= %(upto)s::text) AS now
            USING (record_key)
        WHERE now.content_digest IS DISTINCT FROM before.content_digest
           OR now.content_digest IS NULL)
"""
_KEYED = """
    SELECT d.id, d.version FROM changed c JOIN {table} d ON d.natural_key = c.record_key
    WHERE d.kind = %(kind)s::text AND {living}
"""
# The key of a person's record is the hex of the blind index.
_NUMBERED = """
    SELECT d.id, d.version FROM changed c JOIN {table} d ON d.id_index = decode(c.record_key, 'hex')
    WHERE d.kind = %(kind)s::text AND {living}
"""
_PEOPLE = """
    SELECT d.id, d.version FROM {table} d
    WHERE d.kind = %(kind)s::text AND {living} AND d.id IN (
        SELECT o.id FROM changed c JOIN {table} o ON o.id_index = decode(c.record_key, 'hex')
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.phone_index = c.phone_before
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.phone_index = c.phone_now
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.block_index = c.block_before
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.block_index = c.block_now
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.name_year_index = c.year_before
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.name_year_index = c.year_now
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.name_address_index = c.address_before
        UNION SELECT o.id FROM changed c JOIN {table} o ON o.name_address_index = c.address_now)
"""
