"""Rows about people who were erased: nothing of them is kept but that they came."""

from collections.abc import Callable, Iterator, Sequence

from sqlmodel import Session

from backend.services.erased import named_in
from backend.services.sealing import Subject, Vault
from sync.schemas import Incoming, Refused
from sync.wire import leniently, scraped

IDENTITY = ("id_type", "id_number")


def ask_erased(vault: Vault, rows: Sequence[Incoming | Refused]) -> Callable[[], frozenset[int]]:
    """Ask for the keys of all subjects that the rows name; the answer are the positions of the rows of erased ones.

    A row belongs to an erased document, or names an erased human anywhere in it.
    """
    named = [set(_named_by(row)) for row in rows]
    everybody = set().union(*named)
    vault.ask(everybody)

    def answer() -> frozenset[int]:
        gone = vault.erased(everybody)
        return frozenset(place for place, subjects in enumerate(named) if subjects & gone) if gone else frozenset()

    return answer


def erased_rows(session: Session, rows: Sequence[Incoming | Refused]) -> frozenset[int]:
    """The same at once."""
    return ask_erased(Vault(session), rows)()


def _named_by(row: Incoming | Refused) -> Iterator[Subject]:
    if row.id is not None:
        yield row.id.bytes
    if isinstance(row, Incoming):
        yield from named_in(row.state.fields)
        return
    value = leniently(row.content)
    yield from named_in(scraped(row.content, IDENTITY) if value is None else value)
