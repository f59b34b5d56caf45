"""Push: a batch of rows becomes versions, history, ledger, conflicts, quarantine and feed, in one transaction.

The caller commits and only then answers: a device deletes its copy when it hears 200. Nothing here talks HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.crypto import key_ring
from backend.core.enums import COLLECTED_KINDS, Kind, Outcome, QuarantineCode, Role, SourceType
from backend.core.errors import Forbidden
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.kinds import KINDS, Document
from backend.models import Grid
from backend.services import audit, devices, erased, photos, territory
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from sync import feed, review, store
from sync.erased import erased_rows
from sync.review import Held
from sync.rules import Base, Decision, FieldConflict, Master, State, choose_base, decide, is_ahead, same_state
from sync.schemas import Claims, Incoming, Refused, differs, read_push, to_wire, tombstone, tombstone_op
from sync.store import Author, Entry, Known, Version, Wanted, Written

NO_FINGERPRINT = b""


@dataclass(slots=True)
class Batch:
    """The writes that a push adds up to."""

    kind: Kind
    grids: frozenset[str]
    past_grids: frozenset[str]
    known_grids: frozenset[str]
    versions: list[Written] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)
    conflicts: list[tuple[Known, UUID, FieldConflict]] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    touches: list[feed.Touch] = field(default_factory=list)
    client_time: datetime | None = None


def push(session: Session, *, caller: Caller, kind: Kind, body: bytes, claims: Claims) -> list[Document]:
    """Apply a push body of one kind. Gives the authoritative documents that differ from the pushed ones.

    `Forbidden` for callers that are no handheld and for read-only kinds; errors of the body as a whole as in
    `schemas.read_push`. A wrong row never fails the batch: it is quarantined.
    """
    if caller.device_id is None or caller.role is not Role.GRID_WORKER or kind not in COLLECTED_KINDS:
        raise Forbidden
    rows = read_push(kind, body, max_rows=get_settings().max_batch_rows)
    moment = now()
    erased.hold_off(session)
    gone = erased_rows(session, rows)
    vault = Vault(session)
    wanted = [_wanted(row.id, row) for row in rows if row.id is not None]
    store.lock(session, (row.document_id for row in wanted))
    known = store.read(session, wanted, device_id=caller.device_id, vault=vault)
    batch = _new_batch(session, caller=caller, kind=kind, rows=rows, moment=moment, claims=claims)
    answer: list[Document] = []
    for place, row in enumerate(rows):
        if place in gone:
            answer += _drop(batch, known[row.id] if row.id else None, row)
        elif isinstance(row, Incoming):
            answer += _take(batch, known[row.id], row)
        else:
            answer += _take_refused(batch, known[row.id] if row.id else None, row)
    _write(session, batch, author=Author(caller.account_id, caller.device_id), moment=moment, vault=vault)
    note_device(session, device_id=caller.device_id, claims=claims)
    feed.touch(session, batch.touches)
    return answer


def note_device(session: Session, *, device_id: UUID, claims: Claims) -> None:
    """Keep what a device said of itself with the call."""
    devices.seen(
        session,
        device_id=device_id,
        schema_version=claims.schema_version,
        waiting=claims.waiting,
        client_time=claims.client_time,
    )


def publish(
    session: Session, *, kind: Kind, document_id: UUID, grid_id: str, fields: Document, deleted: bool = False
) -> None:
    """Write the server's own version of a document, such as the outcome of a case. Equal content writes nothing."""
    vault = Vault(session)
    store.lock(session, [document_id])
    known = store.read(session, [Wanted(document_id, document_id, None, deleted)], device_id=None, vault=vault)[
        document_id
    ]
    state = State({} if deleted else {"grid_id": grid_id, **fields}, deleted)
    master = known.master
    decision = decide(
        KINDS[kind],
        mine=state,
        base=Base(master.state, master.version) if master else None,
        master=Master(master.state, master.version) if master else None,
    )
    if not decision.changed:
        return
    batch = Batch(kind, frozenset(), frozenset(), frozenset())
    _apply(batch, known, decision, op=new_id(), grid_id=grid_id)
    _write(session, batch, author=Author(None, None), moment=now(), vault=vault)
    feed.touch(session, batch.touches)


def republish(session: Session, *, document_id: UUID) -> None:
    """Write a document anew as far as it can be opened: without a member who was erased meanwhile.

    Nothing where every part opens, so that running again does no harm. No check follows: nobody entered anything.
    """
    vault = Vault(session)
    store.lock(session, [document_id])
    if not store.has_unreadable_parts(session, document_id, vault=vault):
        return
    wanted = [Wanted(document_id, document_id, None, deleted=False)]
    known = store.read(session, wanted, device_id=None, vault=vault)[document_id]
    if known.master is None or known.kind is None or known.master.state.deleted:
        return
    batch = Batch(known.kind, frozenset(), frozenset(), frozenset())
    decision = Decision(Outcome.APPLIED, known.master.state, changed=True)
    _apply(batch, known, decision, op=new_id(), grid_id=known.master.grid_id)
    store.write_versions(session, batch.versions, author=Author(None, None), now=now(), vault=vault)
    audit.record(
        session,
        actor="sync",
        action="document_written",
        object_type=known.kind.value,
        object_id=str(document_id),
        version=known.master.version,
    )
    feed.touch(session, batch.touches)


def _new_batch(
    session: Session,
    *,
    caller: Caller,
    kind: Kind,
    rows: Sequence[Incoming | Refused],
    moment: datetime,
    claims: Claims,
) -> Batch:
    held = territory.held_grids(session, caller.account_id, at=moment)
    named = {str(row.state.fields.get("grid_id")) for row in rows if isinstance(row, Incoming)} - held.keys()
    real = session.exec(select(Grid.id).where(col(Grid.id).in_(named))) if named else ()
    past = territory.past_grids(session, caller.account_id, at=moment)
    return Batch(kind, frozenset(held), frozenset(past), frozenset(real), client_time=claims.client_time)


def _wanted(document_id: UUID, row: Incoming | Refused) -> Wanted:
    if isinstance(row, Incoming):
        return Wanted(document_id, row.op, row.assumed_op, row.state.deleted)
    return Wanted(document_id, row.op or document_id, None, deleted=False)


def _take(batch: Batch, known: Known, row: Incoming) -> list[Document]:
    """Decide one row against what is known, in memory, so that a batch may hold several rows of one document."""
    fingerprint = key_ring().fingerprint(row.content)
    seen = known.fingerprints.get(row.op)
    if seen == fingerprint:
        return _current(batch, known, row)
    if seen is not None:
        _hold(batch, row, QuarantineCode.OP_REUSED, fingerprint)
        return _current(batch, known, row)
    if _is_own_tombstone(known, row):
        return _current(batch, known, row) if known.master else []
    code = _refusal(batch, known, row)
    version = known.named.get(row.op)
    if code is None and version is not None:
        # The server's own version: equal content is an echo, other content an edit that took its op.
        if same_state(version.state, row.state):
            return _current(batch, known, row)
        code = QuarantineCode.OP_REUSED
    if code is not None:
        _hold(batch, row, code, fingerprint)
        known.fingerprints[row.op] = fingerprint
        batch.ledger.append(Entry(row.id, row.op, batch.kind, Outcome.QUARANTINED, fingerprint))
        return _current(batch, known, row)
    _merge(batch, known, row, fingerprint)
    return _current(batch, known, row)


def _drop(batch: Batch, known: Known | None, row: Incoming | Refused) -> list[Document]:
    """Keep nothing of a row about somebody who was erased, but its name in the ledger, so that its author hears of it.

    The fingerprint stays empty: it would tell who guesses the content that he guessed right.
    """
    if known is None:
        return []
    echo = isinstance(row, Incoming) and _is_own_tombstone(known, row)
    if row.op is not None and row.op not in known.fingerprints and not echo:
        known.fingerprints[row.op] = NO_FINGERPRINT
        batch.ledger.append(Entry(known.id, row.op, batch.kind, Outcome.ERASED, NO_FINGERPRINT))
    if isinstance(row, Incoming):
        return _current(batch, known, row)
    return [visible(batch.kind, known, grids=batch.grids, op=row.op or known.id)]


def _is_own_tombstone(known: Known, row: Incoming) -> bool:
    """A tombstone that we sent, for whatever reason, means nothing when it comes back (rule 9)."""
    return row.state.deleted and any(tombstone_op(op) == row.op for op in (*known.ops, known.id))


def _refusal(batch: Batch, known: Known, row: Incoming) -> QuarantineCode | None:
    """Why the row may not be applied by this caller, or None. Both the old and the new grid must be held."""
    if known.master is not None and known.kind is not batch.kind:
        return QuarantineCode.ID_TAKEN
    if known.master is None and row.state.deleted:
        return QuarantineCode.OUT_OF_SCOPE
    grids = [known.master.grid_id] if known.master else []
    grids += [] if row.state.deleted else [row.state.fields["grid_id"]]
    outside = [grid for grid in grids if grid not in batch.grids or known.hidden]
    if not outside:
        return None
    if outside[0] in batch.past_grids:
        return QuarantineCode.PAST_MEMBERSHIP
    is_real = known.master is not None or outside[0] in batch.known_grids
    return QuarantineCode.OUT_OF_SCOPE if is_real else QuarantineCode.UNKNOWN_GRID


def _merge(batch: Batch, known: Known, row: Incoming, fingerprint: bytes) -> None:
    base = _base_of(known, row)
    master = Master(known.master.state, known.master.version) if known.master else None
    ahead = is_ahead(rev=row.wire.get("rev"), is_named=row.assumed_op is not None, master=master)
    decision = decide(KINDS[batch.kind], mine=row.state, base=base, master=master, ahead=ahead)
    pure = decision.outcome is Outcome.APPLIED
    if decision.changed:
        grid_id = decision.result.fields.get("grid_id") or (known.master.grid_id if known.master else "")
        _apply(batch, known, decision, op=row.op if pure else new_id(), grid_id=grid_id)
    assert known.master is not None
    known.last_pushed = (row.state, known.master.version)
    known.fingerprints[row.op] = fingerprint
    batch.conflicts += [(known, row.op, conflict) for conflict in decision.conflicts]
    batch.ledger.append(
        Entry(
            row.id,
            row.op,
            batch.kind,
            decision.outcome,
            fingerprint,
            base_version=base.version if base else None,
            version=known.master.version,
            pushed=row.state,
            client_time=batch.client_time,
        )
    )


def _base_of(known: Known, row: Incoming) -> Base | None:
    named = known.named.get(row.assumed_op) if row.assumed_op else None
    last = Base(*known.last_pushed) if known.last_pushed else None
    return choose_base(
        last_pushed=last,
        named=Base(named.state, named.version) if named else None,
        is_named=row.assumed_op is not None,
    )


def _apply(batch: Batch, known: Known, decision: Decision, *, op: UUID, grid_id: str) -> None:
    """Add a version; a document that moves touches both grids (rule 8)."""
    before = known.master
    version = Version((before.version if before else 0) + 1, op, grid_id, decision.result)
    known.master, known.kind = version, batch.kind
    known.named[op] = version
    known.ops.add(op)
    batch.versions.append(Written(known.id, batch.kind, version, decision.result.fields.get("captured_at")))
    grids = {grid_id, before.grid_id if before else grid_id}
    batch.touches += [feed.Touch(grid, known.id, batch.kind) for grid in sorted(grids)]


def _take_refused(batch: Batch, known: Known | None, row: Refused) -> list[Document]:
    """Keep a row that cannot be merged. Its author gets the document as it stands, where the id could be read."""
    fingerprint = key_ring().fingerprint(row.content)
    batch.held.append(Held(batch.kind, row.code, row.content, fingerprint, row.places, row.id, row.op, row.grid_id))
    return [visible(batch.kind, known, grids=batch.grids, op=row.op or known.id)] if known else []


def _hold(batch: Batch, row: Incoming, code: QuarantineCode, fingerprint: bytes) -> None:
    grid_id = row.state.fields.get("grid_id")
    batch.held.append(Held(batch.kind, code, row.raw, fingerprint, [], row.id, row.op, grid_id))


def _current(batch: Batch, known: Known, row: Incoming) -> list[Document]:
    """The authoritative document where it differs from the pushed one (rule 3), as far as the caller may see it."""
    document = visible(batch.kind, known, grids=batch.grids, op=row.op)
    return [document] if differs(row.wire, document) else []


def visible(kind: Kind, known: Known, *, grids: frozenset[str], op: UUID) -> Document:
    """The document as it stands, or a tombstone where there is none for this caller."""
    master = known.master
    if master is None or known.kind is not kind:
        return tombstone(kind, known.id, version=0, op=op)
    if master.state.deleted or master.grid_id not in grids:
        return tombstone(kind, known.id, version=master.version, op=master.op)
    return to_wire(known.id, fields=master.state.fields, version=master.version, op=master.op)


def _write(session: Session, batch: Batch, *, author: Author, moment: datetime, vault: Vault) -> None:
    sealed = store.write_versions(session, batch.versions, author=author, now=moment, vault=vault)
    store.write_ledger(session, batch.ledger, author=author, now=moment, vault=vault, sealed=sealed)
    review.write_conflicts(session, batch.conflicts, kind=batch.kind, author=author, now=moment, vault=vault)
    held = review.write_quarantine(session, batch.held, author=author, now=moment, vault=vault)
    created = [entry.document_id for entry in batch.versions if entry.version.version == 1]
    review.settle_quarantine(session, created, author=author)
    _link_photos(session, batch, author)
    _ask_for_checks(session, batch)
    audit.record_many(
        session,
        actor=str(author.account_id or "sync"),
        action="document_written",
        object_type=batch.kind.value,
        entries=[(str(entry.document_id), {"version": entry.version.version}) for entry in batch.versions],
    )
    audit.record_many(
        session,
        actor=str(author.account_id or "sync"),
        action="row_quarantined",
        object_type=batch.kind.value,
        entries=[(str(row.document_id), {"code": row.code.value}) for row in held],
    )


def _link_photos(session: Session, batch: Batch, author: Author) -> None:
    manifests = [
        (entry.document_id, entry.version.state.fields["photos"])
        for entry in batch.versions
        if entry.version.state.fields.get("photos")
    ]
    if manifests:
        photos.link_photos(session, source_type=SourceType.DOCUMENT, links=manifests, owner_id=author.account_id)


def _ask_for_checks(session: Session, batch: Batch) -> None:
    """One cross-check for each version of a collected record; tombstones have nothing to be checked."""
    if batch.kind not in COLLECTED_KINDS:
        return
    jobs.enqueue_many(
        session,
        [
            jobs.NewJob(
                "workflows.crosscheck",
                f"document:{entry.document_id}:{entry.version.version}",
                {
                    "source_type": SourceType.DOCUMENT.value,
                    "source_id": str(entry.document_id),
                    "source_version": entry.version.version,
                },
            )
            for entry in batch.versions
            if not entry.version.state.deleted
        ],
    )
