"""What must hold when a history has ended and every client has synced until idle. A breach is named in plain words."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import rfc8785
from sqlmodel import Session, col, select

from backend.core.db import engine_for
from backend.core.enums import Outcome
from backend.models import Conflict, Device, DocumentVersion, Mutation, Quarantine
from backend.services.records import StoredRow, open_rows
from tests.simulation.town import Town, everything
from tests.world import Handheld, Json

NOT_COMPARED = frozenset({"rev", "op", "_deleted"})
HONEST_CODES = frozenset({"out_of_scope", "past_membership", "id_taken"})
"""Reasons for which an honest client's row may be kept for review; any other is a fault of the protocol."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What one client holds at the end, and what it was told on the way."""

    name: str
    enrolled: Handheld
    living: Mapping[str, Mapping[str, str]]
    deleted: list[Json]
    refused: list[Json]
    accepted: list[Json]
    pushed: list[Json]
    alarms: list[str]


@dataclass(slots=True)
class Written:
    """Who wrote each value: values are never used twice, so that one that comes back is seen."""

    authors: dict[str, str] = field(default_factory=dict)

    def new(self, author: str, label: str) -> str:
        value = f"合成{label}-{len(self.authors)}"
        self.authors[value] = author
        return value


def comparable(document: Json) -> str:
    """The canonical form of a document without its version's number and name, as the clients write it."""
    return rfc8785.dumps({key: value for key, value in document.items() if key not in NOT_COMPARED}).decode()


def breaches(town: Town, replicas: list[Replica], written: Written) -> list[str]:
    """Everything that does not hold, followed by the story of each document concerned; empty when all is well."""
    record = Record.of(town)
    found = list(_all_breaches(town, replicas, record, written))
    return [
        *found,
        *(line for one in record.versions if str(one) in " ".join(found) for line in _story(one, replicas, record)),
    ]


def _all_breaches(town: Town, replicas: list[Replica], record: "Record", written: Written) -> list[str]:
    found = [
        breach for replica in replicas for breach in (*_replica(town, replica), *_ledger(replica, record, written))
    ]
    return [*found, *_history(record), *_conflicts(replicas, record, written)]


@dataclass(slots=True)
class Record:
    """What the server has of a town: history with its fields opened, ledger, conflicts, quarantine."""

    versions: dict[UUID, list[tuple[DocumentVersion, Json]]]
    mutations: dict[tuple[UUID, UUID], Mutation]
    conflicts: list[Conflict]
    quarantine: list[Quarantine]

    @classmethod
    def of(cls, town: Town) -> "Record":
        """Read it as the worker's role, which sees all."""
        with Session(engine_for("zw_worker"), expire_on_commit=False) as session:
            devices = list(session.exec(select(Device.id).where(col(Device.account_id).in_(town.workers))))
            mine = col(DocumentVersion.device_id).in_(devices)
            stored = session.exec(select(DocumentVersion).where(mine).order_by(col(DocumentVersion.version))).all()
            opened = open_rows(session, [StoredRow(one.document_id, one.body, one.sealed) for one in stored])
            versions: dict[UUID, list[tuple[DocumentVersion, Json]]] = defaultdict(list)
            for one, fields in zip(stored, opened, strict=True):
                versions[one.document_id].append((one, fields))
            ledger = session.exec(select(Mutation).where(col(Mutation.device_id).in_(devices)))
            conflicts = session.exec(select(Conflict).where(col(Conflict.device_id).in_(devices)))
            held = session.exec(select(Quarantine).where(col(Quarantine.device_id).in_(devices)))
            return cls(versions, {(one.document_id, one.op): one for one in ledger}, [*conflicts], [*held])


def _replica(town: Town, replica: Replica) -> Iterator[str]:
    """I4 and I5: equal to the server byte for byte, nothing outside the scope, nothing left of what is gone."""
    held = set(replica.enrolled.grids())
    for kind, living in replica.living.items():
        truth = {one: comparable(document) for one, document in everything(replica.enrolled, kind).items()}
        for one in sorted(truth.keys() | living.keys()):
            if truth.get(one) != living.get(one):
                yield f"{replica.name} {kind} {one}: has {living.get(one)}, the server {truth.get(one)}"
            if one in living and not any(grid in living[one] for grid in held):
                yield f"{replica.name} {kind} {one}: outside the scope"
    for document in replica.deleted:
        kept = {key for key, value in document.items() if value not in ("", [], {})} - {
            "kind",
            "id",
            "op",
            "rev",
            "_deleted",
        }
        if kept:
            yield f"{replica.name} {document['kind']} {document['id']}: deleted, but has {sorted(kept)}"
    yield from (f"{replica.name}: alarm {alarm}" for alarm in replica.alarms)
    waiting = {row["op"]: row["row"].get("newDocumentState") for row in replica.enrolled.outcomes()["quarantined"]}
    listed = {row["op"]: row["row"] for row in replica.refused}
    if waiting != listed:
        yield f"{replica.name}: refused list {sorted(listed)}, waiting for review {sorted(waiting)}"


def _ledger(replica: Replica, record: Record, written: Written) -> Iterator[str]:
    """I1: each row a client saw accepted is in the ledger, and what it wrote is in the history or up for a decision."""
    known = {(one, version.op) for one, versions in record.versions.items() for version, _ in versions}
    for entry in replica.accepted:
        document = entry["document"]
        key = (UUID(document["id"]), UUID(document["op"]))
        mutation = record.mutations.get(key)
        if mutation is None:
            if key not in known and not document.get("_deleted"):
                yield f"{replica.name} {entry['kind']} {key[0]}: accepted op {key[1]} is not in the ledger"
        elif mutation.outcome is Outcome.QUARANTINED:
            if not any((row.document_id, row.op) == key for row in record.quarantine):
                yield f"{replica.name} {entry['kind']} {key[0]}: the quarantined row {key[1]} was not kept"
        elif not document.get("_deleted"):
            yield from _values(replica, document, record, written)


def _values(replica: Replica, document: Json, record: Record, written: Written) -> Iterator[str]:
    one = UUID(document["id"])
    stored = {value for _, fields in record.versions[one] for value in fields.values() if isinstance(value, str)}
    for name, value in document.items():
        if written.authors.get(str(value)) != replica.name or value in stored:
            continue
        if not any(found.document_id == one and found.field == name for found in record.conflicts):
            yield f"{replica.name} {one}: accepted {name}={value} is in no version and no conflict"


def _history(record: Record) -> Iterator[str]:
    """I2: numbers without gaps, each version from a row of the ledger, none twice, and no value that comes back."""
    for one, versions in record.versions.items():
        numbers = [version.version for version, _ in versions]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{one}: versions {numbers}"
        made = {mutation.version for (document, _), mutation in record.mutations.items() if document == one}
        if not set(numbers) <= made:
            yield f"{one}: versions {sorted(set(numbers) - made)} come from no row"
        for (before, old), (after, new) in pairwise(versions):
            if (before.deleted, before.grid_id, old) == (after.deleted, after.grid_id, new):
                yield f"{one}: version {after.version} repeats the one before"
        yield from _returned(one, versions)
    for row in record.quarantine:
        if row.code.value not in HONEST_CODES:
            yield f"{row.document_id}: an honest row was held as {row.code.value} {row.places}"


def _returned(one: UUID, versions: list[tuple[DocumentVersion, Json]]) -> Iterator[str]:
    """An older value that comes back has silently undone somebody's edit. A delete starts anew."""
    past: dict[str, list[Any]] = defaultdict(list)
    for version, fields in versions:
        if version.deleted:
            past.clear()
        for name in {*past, *fields} - {"grid_id"}:
            value = fields.get(name)
            if past[name] and past[name][-1] == value:
                continue
            if value in past[name]:
                yield f"{one}: {name} goes back to {value} in version {version.version}"
            past[name].append(value)


def _story(one: UUID, replicas: list[Replica], record: Record) -> Iterator[str]:
    """What happened to a document, for the person who looks for the reason."""
    names = {UUID(replica.enrolled.tokens["device_id"]): replica.name for replica in replicas}
    for version, fields in record.versions[one]:
        what = "a tombstone" if version.deleted else str(fields)
        yield f"  {version.created_at:%S.%f} version {version.version} op {version.op}: {what}"
    for (document, op), mutation in sorted(record.mutations.items(), key=lambda entry: entry[1].seq or 0):
        if document == one:
            reached = f"{mutation.outcome.value}, base {mutation.base_version}, version {mutation.version}"
            who = names.get(mutation.device_id or one, "nobody")
            yield f"  {mutation.created_at:%S.%f} {who} pushed {op}: {reached}"
    for replica in replicas:
        for row in (row for row in replica.pushed if row["newDocumentState"]["id"] == str(one)):
            yield f"  {replica.name} sent {row}"


def _conflicts(replicas: list[Replica], record: Record, written: Written) -> Iterator[str]:
    """A conflict is between two people: the value that was kept was not written by the very device that lost."""
    names = {UUID(replica.enrolled.tokens["device_id"]): replica.name for replica in replicas}
    for conflict in record.conflicts:
        mutation = record.mutations[conflict.document_id, conflict.op]
        kept = {version.version: fields for version, fields in record.versions[conflict.document_id]}
        value = kept.get(mutation.version or 0, {}).get(conflict.field)
        if conflict.hardness.value == "hard" and written.authors.get(str(value)) == names[conflict.device_id]:
            yield f"{conflict.document_id}: {names[conflict.device_id]} conflicts with itself on {conflict.field}"
