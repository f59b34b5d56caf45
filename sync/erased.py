"""Rows about people who were erased: nothing of them is kept but that they came."""

from collections.abc import Iterator, Sequence

from sqlmodel import Session

from backend.services.erased import named_in
from backend.services.sealing import Subject, erased_among
from sync.schemas import Incoming, Refused
from sync.wire import leniently, scraped

IDENTITY = ("id_type", "id_number")


def erased_rows(session: Session, rows: Sequence[Incoming | Refused]) -> frozenset[int]:
    """The positions of rows that belong to an erased document, or name an erased human anywhere in them."""
    named = [set(_named_by(row)) for row in rows]
    gone = erased_among(session, set().union(*named))
    return frozenset(place for place, subjects in enumerate(named) if subjects & gone)


def _named_by(row: Incoming | Refused) -> Iterator[Subject]:
    if row.id is not None:
        yield row.id.bytes
    if isinstance(row, Incoming):
        yield from named_in(row.state.fields)
        return
    value = leniently(row.content)
    yield from named_in(scraped(row.content, IDENTITY) if value is None else value)
