"""Erasing one canary by the product's own routes: nothing of it is left, and nothing else has changed by a byte.

Before and after, every sealed value of every table is opened with the product's own key ring, as somebody who holds
the database and all keys could, and every row is hashed.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Table
from sqlmodel import Session, SQLModel

import backend.models  # noqa: F401  registers every table
from backend.core.crypto import Undecipherable, key_ring
from backend.core.db import engine_for
from backend.core.ids import new_id
from backend.services import sealing
from backend.services.blocking import name_year_index
from backend.services.records import block_index, phone_index
from backend.services.sealing import Vault
from bench.canary import files, records
from bench.canary.declare import declared, hand_over
from bench.canary.drive import Drive, push
from bench.canary.needles import Searcher
from bench.canary.people import Identity
from tests.world import until

Key = tuple[str, str]
"""A table and the primary key of a row."""

LEFT_OUT = frozenset({"audit_entry", "job", "erasure"})
"""Tables that record the erasure itself. What the trail holds are ids; jobs and requests are searched in the dump."""

ASKED_BY, APPROVED_BY = "data_steward", "security_admin"
SECONDS = 600.0


@dataclass
class Opened:
    """What somebody with all keys can read: per row the opened text, its hash, and the ids it names."""

    texts: dict[Key, bytes] = field(default_factory=dict)
    unopened: list[Key] = field(default_factory=list)
    hashes: dict[Key, bytes] = field(default_factory=dict)
    named: dict[Key, frozenset[bytes]] = field(default_factory=dict)

    def about(self, searcher: Searcher) -> set[Key]:
        """Rows in which a canary of the searcher can be read."""
        return {key for key, opened in self.texts.items() if searcher.search(opened)}


def open_everything() -> Opened:
    """Open every sealed value, and hash every row, of all tables."""
    opened = Opened()
    with Session(engine_for("zw_worker")) as session:
        vault = Vault(session)
        for table in SQLModel.metadata.sorted_tables:
            if table.name not in LEFT_OUT:
                _open_table(session, vault, table, opened)
    return opened


def _open_table(session: Session, vault: Vault, table: Table, opened: Opened) -> None:
    rows = [dict(row) for row in session.connection().execute(table.select()).mappings()]
    blobs = [value for row in rows for value in row.values() if isinstance(value, bytes) and _is_sealed(value)]
    vault.load(sealing.subjects_in(blobs))
    for row in rows:
        key = (table.name, "/".join(str(row[column.name]) for column in table.primary_key.columns))
        opened.hashes[key] = sha256(repr(sorted(row.items())).encode()).digest()
        opened.named[key] = frozenset(_ids(row))
        parts = [_open(vault, value, row) for value in row.values() if isinstance(value, bytes) and _is_sealed(value)]
        if None in parts:
            opened.unopened.append(key)
        parts += [_open_system(value, row) for value in row.values() if isinstance(value, bytes)]
        opened.texts[key] = b"\0".join(part for part in parts if part)


def _ids(row: Mapping[str, Any]) -> Iterator[bytes]:
    """Ids of records and subjects that a row names."""
    for value in row.values():
        if isinstance(value, UUID):
            yield value.bytes
        elif isinstance(value, bytes) and len(value) == len(UUID(int=0).bytes):
            yield value


def _is_sealed(value: bytes) -> bool:
    """Whether bytes are a blob of ours: a list of subject and ciphertext. Indexes and fingerprints are not."""
    try:
        return bool(sealing.subjects_in([value]))
    except Undecipherable:
        return False


def _open(vault: Vault, blob: bytes, row: Mapping[str, Any]) -> bytes | None:
    """The content of a blob, empty where its subjects were erased, None where no context of the row fits."""
    for context in _contexts(row):
        try:
            parts = vault.open(blob, context=context)
        except Undecipherable:
            continue
        return json.dumps([part.value for part in parts], ensure_ascii=False).encode()
    return None


def _open_system(value: bytes, row: Mapping[str, Any]) -> bytes | None:
    """What was sealed under the ring itself, which has no subject; None where bytes are anything else."""
    for context in (QUARANTINE, *_contexts(row)) if len(value) > SHORTEST_SYSTEM else ():
        with suppress(Undecipherable):
            return key_ring().open_system(value, context=context)
    return None


QUARANTINE = b"quarantine"
SHORTEST_SYSTEM = 17
"""A version and a tag: an index has fewer bytes."""


def _contexts(row: Mapping[str, Any]) -> Iterator[bytes]:
    """Everything of a row that the product binds ciphertexts to: ids, and ids with a key or a number behind them."""
    ids = [value for value in row.values() if isinstance(value, UUID)]
    yield from (one.bytes for one in ids)
    yield from (QUARANTINE + one.bytes for one in ids)
    for one, (name, value) in itertools.product(ids, row.items()):
        if isinstance(value, str):
            yield one.bytes + value.encode()
        if isinstance(value, int):
            yield one.bytes + value.to_bytes(4, "big", signed=value < 0)
        yield one.bytes + name.encode()
        yield one.bytes + b":" + name.encode()
        yield name.encode() + one.bytes


def elsewhere(one: Identity) -> Identity:
    """The same human in a house whose place is nobody's secret: it stays, as it is the house's own."""
    return replace(one, lat=226_900_123, lon=1_143_400_123)


def enter(going: Drive, one: Identity) -> None:
    """The canary that will be erased: wherever the product knows that something is about this human."""
    handheld, other, grid = going.first[0], going.second[0], going.grids[0]
    person = records.person(one, grid)
    neutral = {"remark": "合成说明：无"}
    content, photo_id = files.photo(one), str(new_id())
    entry = {"photo_id": photo_id, "sha256": sha256(content).hexdigest(), "size": len(content), "mime": "image/jpeg"}
    person |= {"photos": [entry]}
    push(handheld, "person", [records.row(person)])
    going.upload(handheld, {"photo_id": photo_id, "sha256": entry["sha256"], "filetype": "image/jpeg"}, content)
    for device, word in ((other, "先"), (handheld, "后")):
        push(device, "person", [records.row(records.edit(person, remark=f"{word} {one.text()}"), person)])
    push(handheld, "house", [records.row({**records.house(elsewhere(one), grid), **neutral})])
    push(handheld, "organisation", [records.row({**records.organisation(one, grid), **neutral})])
    push(
        handheld,
        "event",
        [records.row({**records.event(one, grid), "description": "合成描述", "location": records.PUBLIC_PLACE})],
    )
    portal = going.world.office("declaration_channel")
    for kind, fields in declared(elsewhere(one), grid):
        hand_over(going, portal, kind, fields if kind == "person" else fields | neutral)
    wrong = {**records.person(one, grid), "birth_date": [one.text()]}
    push(handheld, "person", [records.row(wrong), records.reused_op(person, one)])


def ask_for(going: Drive, one: Identity) -> None:
    """A steward asks, a security administrator approves, and the jobs do it."""
    steward, security = going.world.office(ASKED_BY), going.world.office(APPROVED_BY)
    subject = {"id_type": "citizen_id", "id_number": one.id_number}
    asked = going.client.post(
        "/life/v1/erasures", json={"subject": subject, "reason": "subject_request"}, headers=steward
    )
    assert asked.status_code == 201, asked.text
    path = f"/life/v1/erasures/{asked.json()['id']}"
    approved = going.client.post(f"{path}/approve", headers=security)
    assert approved.status_code == 200, approved.text
    until(lambda: going.client.get(path, headers=security).json()["state"] == "done", seconds=SECONDS, what="erased")


def faults(before: Opened, after: Opened, one: Identity, dump: bytes) -> list[str]:
    """What is wrong after an erasure, in words; nothing where it did what it must and no more."""
    searcher = Searcher([one])
    related = before.about(searcher)
    found = [f"{len(related)} rows were about him before, too few to show anything"] * (len(related) < FEWEST)
    found += [f"still readable: {key}" for key in sorted(after.about(searcher))]
    found += [f"does not open: {key}" for key in sorted(set(before.unopened))]
    found += [f"no longer opens: {key}" for key in sorted(set(after.unopened) - set(before.unopened))]
    found += [f"in the dump: the index of his {name}" for name, index in _indexes(one).items() if index in dump]
    return found + list(_strangers_changed(before, after, related, one))


FEWEST = 8
"""Document, versions, ledger, conflict, quarantine, verdict, house, shop, event, business records."""


def _indexes(one: Identity) -> dict[str, bytes]:
    block = block_index(one.name, one.birth_date)
    phone = phone_index(one.phone)
    assert block is not None
    assert phone is not None
    year = name_year_index(one.name, one.birth_date)
    assert year is not None
    number = key_ring().blind_index("id_number", "citizen_id", one.id_number)
    return {"number": number, "phone": phone, "name and birth date": block, "name and year": year}


def _strangers_changed(before: Opened, after: Opened, related: set[Key], one: Identity) -> Iterator[str]:
    """Rows that had nothing to do with him and are not the same any more.

    A row is related where he could be read in it, or where it names a record in which he could, or himself.
    """
    own = {sealing.human("citizen_id", one.id_number)}
    for table, identifier in related:
        if table in ("document", "declaration", "quarantine", "verdict", "photo"):
            own.add(UUID(identifier).bytes)
        own |= before.named[table, identifier] if table == "quarantine" else set()
    files = {UUID(identifier).bytes for table, identifier in before.hashes if table == "snapshot"}
    for key, digest in before.hashes.items():
        of_a_file = key[0] in FILES_OF and bool(files & before.named[key])
        belongs = key in related or key[0] in MOVING or of_a_file or bool(own & before.named[key])
        if after.hashes.get(key) != digest and not belongs:
            yield f"changed though it is about somebody else: {key}"


FILES_OF = ("snapshot", "subject_key")
"""A file of refused rows holds many people and goes whole when one of them is erased: its name, and its key."""

MOVING = frozenset({"feed_counter", "device", "session_family", "beat_slot", "login_failure", "server_state"})
"""Counters and times that calls and jobs move on."""
