"""Tampering with whole batches: forged, cut off, deleted, altered, dropped before their time."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random

from sqlmodel import Session

from backend.services.audit_anchor import Batch, private_key, short_hashes, writing
from backend.services.audit_hashing import CANONICAL, batch_head, entry_hash, fetch, microseconds
from backend.services.audit_locate import Wrong
from backend.services.audit_rows import rows_of
from bench.tampering.trail import (
    FIRST_DAY,
    STEP,
    Expected,
    Trail,
    any_of,
    forged,
    recompute,
    remove_batches,
    run,
    tampering,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@tampering
def insert_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """A forged batch between two honest ones, later ones moved up and computed anew."""
    batch = random.randint(1, len(trail.batches))
    entry = forged(session, at=FIRST_DAY)
    for table, column in (("audit_batch", "number"), ("audit_seal", "batch")):
        run(session, f"UPDATE {table} SET {column} = -{column} WHERE {column} >= :n", n=batch)
        run(session, f"UPDATE {table} SET {column} = -{column} + 1 WHERE {column} < 0")
    run(
        session,
        "INSERT INTO audit_batch SELECT :n, previous_head, head, 1, first_at, last_at, sealed_at FROM audit_batch "
        "WHERE number = :next",
        n=batch,
        next=batch + 1,
    )
    run(session, "INSERT INTO audit_seal VALUES (:id, :n, 1, :hash)", id=entry, n=batch, hash=bytes(32))
    recompute(session, batch)
    return Expected(any_of(Wrong.EDITED), batch, 1, str(entry)), None


@tampering
def cut_off_batches(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    last = random.randint(0, len(trail.batches) - 1)
    remove_batches(session, "> :last", last=last)
    if random.random() < 0.5:
        run(session, "UPDATE server_state SET value = :last WHERE name = 'audit_anchored'", last=str(last))
    return Expected(any_of(Wrong.CUT_OFF), last + 1, 1), None


@tampering
def cut_off_batches_and_anchor(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """Both ends cut: the note in the database still tells, as would a head that somebody wrote down."""
    last = random.randint(0, len(trail.batches) - 1)
    remove_batches(session, "> :last", last=last)
    return Expected(any_of(Wrong.CUT_OFF), last + 1, 1), trail.altered(trail.lines[: last + 1])


@tampering
def delete_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch = random.randint(1, len(trail.batches) - 1)
    if random.random() < 0.5:
        remove_batches(session, "= :batch", batch=batch)
    else:
        run(session, "DELETE FROM audit_batch WHERE number = :batch", batch=batch)
    return Expected(any_of(Wrong.DELETED), batch, 0), None


@tampering
def alter_a_batch(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    batch = random.randint(1, len(trail.batches))
    change = random.choice(
        (
            "head = sha256(head)",
            "previous_head = sha256(previous_head)",
            "entry_count = entry_count + 1",
            "first_at = first_at - interval '1 second'",
            "last_at = last_at + interval '1 microsecond'",
            "sealed_at = sealed_at + interval '1 hour'",
        )
    )
    run(session, f"UPDATE audit_batch SET {change} WHERE number = :n", n=batch)
    return Expected(any_of(Wrong.BATCH_ALTERED), batch, 0), None


@tampering
def drop_before_its_time(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """As retention would, but by hand: only the age gives it away."""
    batch = random.randint(1, len(trail.batches))
    run(
        session,
        "INSERT INTO audit_drop SELECT batch, now(), string_agg(entry_hash, ''\\:\\:bytea ORDER BY position) "
        "FROM audit_seal WHERE batch = :n GROUP BY batch",
        n=batch,
    )
    run(session, "DELETE FROM audit_entry WHERE id IN (SELECT entry_id FROM audit_seal WHERE batch = :n)", n=batch)
    run(session, "DELETE FROM audit_seal WHERE batch = :n", n=batch)
    return Expected(any_of(Wrong.DROPPED_EARLY), batch, 0), None


@tampering
def drop_a_batch_that_says_it_is_old(session: Session, random: Random, trail: Trail) -> tuple[Expected, Path | None]:
    """A fresh entry in a batch of its own, rightly chained, said to be of 2020, dropped, and even signed."""
    last = list(rows_of(session))[-1]
    number, entry = last.number + 1, forged(session, at=FIRST_DAY + STEP * (len(trail.batches) + random.random()))
    [(form,)] = fetch(session, f"SELECT {CANONICAL} FROM audit_entry e WHERE id = %(id)s", {"id": entry})
    digest = entry_hash(form)
    head, old = batch_head(last.head, number, [digest]), microseconds(LONG_AGO)
    run(
        session,
        "INSERT INTO audit_batch VALUES (:n, :previous, :head, 1, :old, :old, :old)",
        n=number,
        previous=last.head,
        head=head,
        old=LONG_AGO,
    )
    run(session, "INSERT INTO audit_drop VALUES (:n, now(), :digest)", n=number, digest=digest)
    run(session, "DELETE FROM audit_entry WHERE id = :id", id=entry)
    key, path = private_key(), trail.altered(trail.lines)
    assert key is not None
    short, heads = short_hashes([digest]), (head.hex(), last.head.hex())
    with writing(path, key) as writer:
        writer.append([lambda line, previous: Batch(line, previous, number, *heads, 1, old, old, old, short)])
    return Expected(any_of(Wrong.BATCH_ALTERED), number, 0), path
