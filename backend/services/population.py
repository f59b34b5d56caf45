"""Finding people in the population dataset by what is known of them, for many at once.

By the id number first, which is theirs alone. For those whose number is on nobody's record, by whatever else they share
with one: `blocking` says which keys there are.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec.json import decode
from sqlmodel import Session

from backend.core import statements
from backend.services import registry
from backend.services.records import Indexes
from backend.services.registry import CurrentSnapshot, Found
from backend.services.registry_sealing import context_of
from backend.services.sealing import Vault, entries_of

PEOPLE = "population"
MOST_SHARED = 100
"""A key that more records share tells nobody apart: a made-up phone number, a birth date that was not known."""

_Keyed = tuple[int, str, UUID, str, bytes | None]
"""For which of those asked, the key of a record, the snapshot it was sealed in, the JSON of its public fields, and what
is sealed."""


def find_people(session: Session, wanted: Sequence[Indexes], *, vault: Vault | None = None) -> list[list[Found]]:
    """The records that each may be, by record key: the one with the id number, else all that share another key.

    Two statements for any number of people. `vault` keeps the keys it reads for who comes after.
    """
    current = registry.current_snapshots(session).get(PEOPLE)
    if current is None:
        return [[] for _ in wanted]
    rows = _with_number(session, current, wanted)
    known = {row[0] for row in rows}
    rows += _with_other_key(session, current, [(n, one) for n, one in enumerate(wanted) if n not in known])
    opened = _opened(vault or Vault(session), current, rows)
    found: list[dict[str, Found]] = [{} for _ in wanted]
    for place, key, *_ in rows:
        found[place][key] = opened[key]
    return [[some[key] for key in sorted(some)] for some in found]


def find_person(session: Session, indexes: Indexes) -> list[Found]:
    """The same for one."""
    return find_people(session, [indexes])[0]


def _with_number(session: Session, current: CurrentSnapshot, wanted: Sequence[Indexes]) -> list[_Keyed]:
    numbers = [(place, one.id_index.hex()) for place, one in enumerate(wanted) if one.id_index]
    if not numbers:
        return []
    given = {"snapshot": current.snapshot_id, "places": [n for n, _ in numbers], "keys": [key for _, key in numbers]}
    return [(row[0], row[1], row[2], row[3], row[4]) for row in statements.rows(session, _BY_NUMBER, given)]


def _with_other_key(session: Session, current: CurrentSnapshot, wanted: Sequence[tuple[int, Indexes]]) -> list[_Keyed]:
    """Without the records of keys that are on too many."""
    if not wanted:
        return []
    given = {
        "snapshot": current.snapshot_id,
        "limit": MOST_SHARED + 1,
        "places": [place for place, _ in wanted],
        "phones": [one.phone_index for _, one in wanted],
        "blocks": [one.block_index for _, one in wanted],
        "years": [one.name_year_index for _, one in wanted],
        "addresses": [one.name_address_index for _, one in wanted],
    }
    rows = statements.rows(session, _BY_OTHER_KEYS, given)
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows if row[5] <= MOST_SHARED]


def _opened(vault: Vault, current: CurrentSnapshot, rows: Iterable[_Keyed]) -> dict[str, Found]:
    """Each record once; one read of keys for all."""
    blobs = {key: (context_of(sealed_in, key), body, entries_of(sealed)) for _, key, sealed_in, body, sealed in rows}
    vault.load({subject for _, _, entries in blobs.values() for subject, _ in entries})
    snapshot_id, taken_at = current.snapshot_id, current.taken_at
    return {
        key: Found(key, snapshot_id, taken_at, vault.fill(decode(body), entries, context=context))
        for key, (context, body, entries) in blobs.items()
    }


_BY_NUMBER = """
    SELECT asked.place, CAST(r.record_key AS text), coalesce(r.sealed_in, r.snapshot_id), CAST(r.body AS text), r.sealed
    FROM unnest(%(places)b::integer[], %(keys)b::text[]) AS asked (place, key)
    JOIN business_record r ON r.snapshot_id = %(snapshot)s AND r.record_key = asked.key
"""
_BY_ONE_KEY = """
    SELECT asked.place, r.record_key, r.sealed_in, r.body, r.sealed, r.shared
    FROM asked CROSS JOIN LATERAL (
        SELECT few.*, count(*) OVER () AS shared FROM (
            SELECT record_key, coalesce(sealed_in, snapshot_id) AS sealed_in, body, sealed FROM business_record
            WHERE snapshot_id = %(snapshot)s AND {column} = asked.{column} LIMIT %(limit)s) AS few) AS r
"""
_BY_OTHER_KEYS = f"""
    WITH asked AS (
        SELECT * FROM unnest(%(places)b::integer[], %(phones)b::bytea[], %(blocks)b::bytea[], %(years)b::bytea[],
                             %(addresses)b::bytea[])
            AS given (place, phone_index, block_index, name_year_index, name_address_index))
    SELECT place, CAST(record_key AS text), sealed_in, CAST(body AS text), sealed, shared FROM (
        {_BY_ONE_KEY.format(column="phone_index")}
        UNION ALL {_BY_ONE_KEY.format(column="block_index")}
        UNION ALL {_BY_ONE_KEY.format(column="name_year_index")}
        UNION ALL {_BY_ONE_KEY.format(column="name_address_index")}
    ) AS found
"""
