"""Tampering with single entries and their seals: edited, renamed, deleted, swapped, forged."""

import secrets
from pathlib import Path
from random import Random

from sqlmodel import Session

from backend.core.ids import new_id
from backend.services import audit_sealing
from backend.services.audit_locate import Wrong
from bench.tampering.trail import FIRST_DAY, STEP, Expected, Trail, any_of, forged, maybe_recompute, run, tampering

EDITS = {
    "at": "at + make_interval(secs => :salt)",
    "actor": "left(actor || :word, 60)",
    "action": "action || :word",
    "object_type": "left(object_type || :word, 32)",
    "object_id": "overlay(object_id placing :word from 1)",
    "request_id": "CASE WHEN request_id IS NULL THEN :word END",
    "detail": "CAST(replace(detail::text, '}', ', \"x\": \"' || :word || '\"}') AS json)",
}


@tampering
def edit_a_column(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    column = random.choice(list(EDITS))
    statement = f"UPDATE audit_entry SET {column} = {EDITS[column]} WHERE id = :id".replace("::", "\\:\\:")
    values = {"salt": random.choice([-1, 1]) * random.uniform(0.000002, 5000), "word": f"{random.randrange(10**6)}"}
    run(session, statement, id=entry, **{name: value for name, value in values.items() if f":{name}" in statement})
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.EDITED), batch, position, entry), None


@tampering
def give_an_entry_another_id(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "UPDATE audit_entry SET id = :new WHERE id = :id", new=new_id(), id=entry)
    return Expected(any_of(Wrong.DELETED), batch, position, entry), None


@tampering
def give_entry_and_seal_another_id(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    new = new_id()
    run(session, "UPDATE audit_entry SET id = :new WHERE id = :id", new=new, id=entry)
    run(session, "UPDATE audit_seal SET entry_id = :new WHERE entry_id = :id", new=new, id=entry)
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.EDITED), batch, position, str(new)), None


@tampering
def delete_an_entry(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "DELETE FROM audit_entry WHERE id = :id", id=entry)
    return Expected(any_of(Wrong.DELETED), batch, position, entry), None


@tampering
def delete_an_entry_and_its_seal(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "DELETE FROM audit_entry WHERE id = :id", id=entry)
    run(session, "DELETE FROM audit_seal WHERE entry_id = :id", id=entry)
    if random.random() < 0.7:
        close_gap(session, batch, position)
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.DELETED), batch, position), None


def close_gap(session: Session, batch: int, position: int) -> None:
    """Later entries of the batch move up; by way of negative numbers, as positions are unique."""
    where = "WHERE batch = :batch AND position"
    run(session, f"UPDATE audit_seal SET position = -position {where} > :p", batch=batch, p=position)
    run(session, f"UPDATE audit_seal SET position = -position - 1 {where} < 0", batch=batch)


@tampering
def delete_a_seal(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "DELETE FROM audit_seal WHERE entry_id = :id", id=entry)
    return Expected(any_of(Wrong.DELETED), batch, position), None


@tampering
def swap_two_places(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, one, _ = trail.pick(random, least=2)
    other = random.choice([p for p in range(1, len(trail.batches[batch - 1]) + 1) if p != one])
    for before, after in ((one, -1), (other, one), (-1, other)):
        run(
            session,
            "UPDATE audit_seal SET position = :after WHERE batch = :batch AND position = :before",
            batch=batch,
            before=before,
            after=after,
        )
    maybe_recompute(session, random, batch)
    first = min(one, other)
    entry = trail.batches[batch - 1][max(one, other) - 1]
    return Expected(any_of(Wrong.REORDERED), batch, first, entry), None


@tampering
def swap_entries_of_two_batches(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    one, two = sorted(random.sample(range(1, len(trail.batches) + 1), 2))
    first = random.randint(1, len(trail.batches[one - 1]))
    second = random.randint(1, len(trail.batches[two - 1]))
    for batch, position, entry in (
        (one, -first, trail.batches[one - 1][first - 1]),
        (one, first, trail.batches[two - 1][second - 1]),
        (two, second, trail.batches[one - 1][first - 1]),
    ):
        run(
            session,
            "UPDATE audit_seal SET batch = :batch, position = :position WHERE entry_id = :id",
            batch=batch,
            position=position,
            id=entry,
        )
    maybe_recompute(session, random, one)
    return Expected(any_of(Wrong.EDITED), one, first, trail.batches[two - 1][second - 1]), None


@tampering
def insert_into_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch = random.randint(1, len(trail.batches))
    position = random.randint(1, len(trail.batches[batch - 1]) + 1)
    entry = forged(session, at=FIRST_DAY)
    where = "WHERE batch = :batch AND position"
    run(session, f"UPDATE audit_seal SET position = -position {where} >= :p", batch=batch, p=position)
    run(session, f"UPDATE audit_seal SET position = -position + 1 {where} < 0", batch=batch)
    run(
        session,
        "INSERT INTO audit_seal VALUES (:id, :batch, :position, :hash)",
        id=entry,
        batch=batch,
        position=position,
        hash=secrets.token_bytes(32),
    )
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.INSERTED), batch, position, str(entry)), None


@tampering
def insert_with_a_false_time(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """Whoever may append can append; what gives it away is that it claims to be old."""
    entry = forged(session, at=FIRST_DAY + random.uniform(0, 0.9) * STEP * len(trail.batches))
    if random.random() < 0.3:
        audit_sealing.seal_waiting(session)
    return Expected(any_of(), 0, entry=str(entry), late=True), None


@tampering
def cut_off_entries(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, _ = trail.pick(random, least=2)
    values = {"batch": batch, "p": position}
    where = "batch = :batch AND position >= :p"
    run(session, f"DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM audit_seal WHERE {where})", **values)
    run(session, f"DELETE FROM audit_seal WHERE {where}", **values)
    maybe_recompute(session, random, batch)
    return Expected(any_of(Wrong.DELETED), batch, position), None


@tampering
def alter_a_seal(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch, position, entry = trail.pick(random)
    run(session, "UPDATE audit_seal SET entry_hash = sha256(entry_hash) WHERE entry_id = :id", id=entry)
    return Expected(any_of(Wrong.SEAL_ALTERED), batch, position, entry), None
