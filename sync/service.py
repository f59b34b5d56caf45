"""Push: a batch of rows becomes versions, history, ledger, conflicts, quarantine and feed, in one transaction.

The caller commits and only then answers: a device deletes its copy when it hears 200. Nothing here talks HTTP.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.crypto import key_ring
from backend.core.enums import COLLECTED_KINDS, Kind, Role, SourceType
from backend.core.errors import Forbidden
from backend.core.ids import new_id
from backend.core.settings import get_settings
from backend.core.statements import Row, together
from backend.kinds import KINDS, Document
from backend.models import Grid
from backend.services import audit, devices, erased, photos, territory
from backend.services.documents import lock
from backend.services.sealing import Vault
from backend.services.sessions import Caller
from sync import core, feed, ownership, review, store
from sync.core import Batch, Scope
from sync.erased import ask_erased
from sync.known import Author, Known, Touch, Wanted, Written
from sync.order import take_turn
from sync.rules import State
from sync.schemas import CURRENT_SCHEMA, Claims, Incoming, Refused, read_push

NOWHERE = Scope()


def push(session: Session, *, caller: Caller, kind: Kind, body: bytes, claims: Claims) -> list[Document]:
    """Apply a push body of one kind. Gives the authoritative documents that differ from the pushed ones.

    `Forbidden` for callers that are no handheld and for read-only kinds; `PushOutOfOrder`; errors of the body as a
    whole as in `schemas.read_push`. A wrong row never fails the batch: it is quarantined.
    """
    if caller.device_id is None or caller.role is not Role.GRID_WORKER or kind not in COLLECTED_KINDS:
        raise Forbidden
    rows = read_push(kind, body, max_rows=get_settings().max_batch_rows, version=claims.schema_version)
    moment = now()
    take_turn(session, device_id=caller.device_id, kind=kind, number=claims.push_number)
    vault = Vault(session)
    wanted = core.wanted(rows)
    with together(session):
        erased.hold_off(session)
        gone = ask_erased(vault, rows)
        lock(session, (row.document_id for row in wanted))
        held = territory.ask_held_grids(session, caller.account_id, at=moment)
        waiting = review.ask_waiting(session, (row.document_id for row in wanted), device_id=caller.device_id)
        known = store.read(session, wanted, device_id=caller.device_id, vault=vault)
    scope = _scope(session, held(), caller=caller, rows=rows, known=known, moment=moment)
    batch = _batch(kind, scope, client_time=claims.client_time, version=claims.schema_version)
    answer = core.take_rows(batch, rows, known=known, erased=gone())
    author = Author(caller.account_id, caller.device_id)
    write = _ready(session, batch, author=author, moment=moment, vault=vault, waiting=waiting.rows())
    with together(session):
        write()
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
    publish_many(session, kind, [Published(document_id, grid_id, fields, deleted)])


@dataclass(frozen=True, slots=True)
class Published:
    """A document as the server has it."""

    document_id: UUID
    grid_id: str
    fields: Document
    deleted: bool = False

    @property
    def state(self) -> State:
        """What the document says, its grid with it."""
        return State({}, deleted=True) if self.deleted else State({"grid_id": self.grid_id, **self.fields})


def publish_many(
    session: Session,
    kind: Kind,
    documents: Sequence[Published],
    *,
    requests: Mapping[UUID, str | None] | None = None,
) -> None:
    """The same for different documents of one kind, with as many statements as for one.

    `requests` are the ids of the requests that this follows from, by document, where they are not all the context's.
    """
    vault = Vault(session)
    lock(session, [one.document_id for one in documents])
    wanted = [Wanted(one.document_id, one.document_id, None, one.deleted) for one in documents]
    known = store.read(session, wanted, device_id=None, vault=vault)
    batch = _batch(kind)
    for one in documents:
        core.write_own(batch, known[one.document_id], state=one.state, grid_id=one.grid_id)
    if not batch.versions:
        return
    write = _ready(session, batch, author=Author(None, None), moment=now(), vault=vault, requests=requests)
    with together(session):
        write()
        feed.touch(session, batch.touches)


def republish(session: Session, *, document_id: UUID) -> None:
    """Write a document anew as far as it can be opened: without a member who was erased meanwhile.

    Nothing where every part opens, so that running again does no harm. No check follows: nobody entered anything.
    """
    vault = Vault(session)
    lock(session, [document_id])
    if not store.has_unreadable_parts(session, document_id, vault=vault):
        return
    wanted = [Wanted(document_id, document_id, None, deleted=False)]
    known = store.read(session, wanted, device_id=None, vault=vault)[document_id]
    if known.master is None or known.kind is None or known.master.state.deleted:
        return
    batch = _batch(known.kind)
    core.write_again(batch, known)
    sealed = store.seal(session, batch.versions, [], vault=vault)
    store.write_versions(session, batch.versions, author=Author(None, None), now=now(), sealed=sealed)
    audit.record(
        session,
        actor="sync",
        action="document_written",
        object_type=known.kind.value,
        object_id=str(document_id),
        version=known.master.version,
    )
    feed.touch(session, batch.touches)


def move(
    session: Session,
    *,
    kind: Kind,
    document_ids: Sequence[UUID],
    sources: Collection[str],
    choose: Callable[[Mapping[UUID, Document]], Mapping[UUID, str]],
) -> list[Touch]:
    """Move living documents of one kind that lie in `sources`, each to the grid that `choose` gives for its content.

    Others are left as they are. The caller keeps erasures waiting, and touches the feed with what this gives as the
    last thing it does.
    """
    vault = Vault(session)
    lock(session, document_ids)
    wanted = [Wanted(document_id, document_id, None, deleted=False) for document_id in document_ids]
    known = store.read(session, wanted, device_id=None, vault=vault)
    leaving = {
        key: entry.master.state.fields
        for key, entry in known.items()
        if entry.master and not entry.master.state.deleted and entry.kind is kind and entry.master.grid_id in sources
    }
    batch = _batch(kind)
    for document_id, grid_id in choose(leaving).items():
        core.write_moved(batch, known[document_id], grid_id=grid_id)
    write = _ready(session, batch, author=Author(None, None), moment=now(), vault=vault)
    with together(session):
        write()
    return batch.touches


def write_reviewed(
    session: Session, known: Known, state: State, *, kind: Kind, reviewer: UUID, owner: UUID, vault: Vault
) -> list[Touch]:
    """Write what a reviewer decided as a version of his, with a ledger row that no device pushed; `known` follows.

    Photos that it names belong to `owner`, who took them. The caller holds the record's lock, and touches the feed with
    what this gives as the last thing it does.
    """
    assert known.master is not None
    grid_id = known.master.grid_id if state.deleted else state.fields["grid_id"]
    batch = _batch(kind)
    core.write_reviewed(batch, known, state=state, grid_id=grid_id)
    author = Author(reviewer, None)
    write = _ready(session, batch, author=author, moment=now(), vault=vault, owner=owner)
    with together(session):
        write()
    return batch.touches


def push_reviewed(
    session: Session,
    *,
    kind: Kind,
    row: Incoming,
    author: Author,
    reviewer: UUID,
    grids: Set[str],
    real: Set[str],
    version: int = CURRENT_SCHEMA,
) -> Batch:
    """Take a quarantined row that somebody has looked at, as its author's push: the same merge, ledger and conflicts.

    `version` is the form that its author's client spoke. Instead of the author's grids the reviewer's count, of which
    `grids` are named by the row or its record and `real` are those that exist. Where the row is quarantined again
    (`held` of the batch), nothing is written. The caller holds the record's lock and touches the feed.
    """
    vault = Vault(session)
    known = store.read(session, core.wanted([row]), device_id=author.device_id, vault=vault)
    batch = _batch(kind, Scope(grids, frozenset(), real), version=version)
    core.take_rows(batch, [row], known=known)
    if not batch.held:
        write = _ready(session, batch, author=author, moment=now(), vault=vault, actor=reviewer)
        with together(session):
            write()
    return batch


def _scope(
    session: Session,
    held: Mapping[str, int],
    *,
    caller: Caller,
    rows: Sequence[Incoming | Refused],
    known: Mapping[UUID, Known],
    moment: datetime,
) -> Scope:
    """The caller's grids. Which ones he held once, and which exist, is asked only where a row lies outside of them."""
    entered = (row.state.fields.get("grid_id") for row in rows if isinstance(row, Incoming))
    named = {grid_id for grid_id in entered if grid_id is not None} - held.keys()
    stored = {entry.master.grid_id for entry in known.values() if entry.master} - held.keys()
    real = session.exec(select(Grid.id).where(col(Grid.id).in_(named))) if named else ()
    past = territory.lost_grids(session, caller.account_id, at=moment).keys() if named or stored else frozenset()
    return Scope(held.keys(), past, set(real))


def _batch(
    kind: Kind, scope: Scope = NOWHERE, *, client_time: datetime | None = None, version: int = CURRENT_SCHEMA
) -> Batch:
    return Batch(kind, scope, key_ring().fingerprint, new_id, client_time, version)


def _ready(
    session: Session,
    batch: Batch,
    *,
    author: Author,
    moment: datetime,
    vault: Vault,
    actor: UUID | None = None,
    owner: UUID | None = None,
    waiting: Sequence[Row] = (),
    requests: Mapping[UUID, str | None] | None = None,
) -> Callable[[], None]:
    """Do what has an answer to wait for: keys, quarantine, photos. Gives the rest of the writes, all but the feed.

    In the trail stands `actor`, and photos are of `owner`, where these are others than the author. `waiting` are the
    rows of the author's device that are settled where their record is created, as `review.ask_waiting` gives them.
    `requests` are the requests of the versions, where these are not all the context's.
    """
    sealed = store.seal(session, batch.versions, batch.ledger, vault=vault)
    held = review.write_quarantine(
        session, batch.held, author=author, now=moment, vault=vault, version=batch.schema_version
    )
    _link_photos(session, batch, owner_id=owner or author.account_id, device_id=author.device_id)
    doer, kind = str(actor or author.account_id or "sync"), batch.kind.value
    created = {entry.document_id for entry in batch.versions if entry.version.version == 1}
    if author.device_id and not created.isdisjoint(row.document_id for row in held):  # Refused and corrected at once.
        waiting = review.ask_waiting(session, created, device_id=author.device_id).rows()
    settled = [held_id for document_id, held_id in waiting if document_id in created]
    written = [(str(entry.document_id), _noted(entry)) for entry in batch.versions]
    asked = [(requests or {}).get(entry.document_id) for entry in batch.versions]
    refused = [(str(row.document_id), {"code": row.code.value}) for row in held]

    def write() -> None:
        store.write_versions(session, batch.versions, author=author, now=moment, sealed=sealed)
        store.write_ledger(session, batch.ledger, author=author, now=moment, sealed=sealed)
        review.write_conflicts(session, batch.conflicts, kind=batch.kind, author=author, now=moment, vault=vault)
        ownership.write_requests(session, batch.requests, author=author, now=moment, vault=vault)
        review.settle_quarantine(session, settled, author=author, now=moment)
        _ask_for_checks(session, batch)
        audit.record_many(
            session, actor=doer, action="document_written", object_type=kind, entries=written, requests=asked
        )
        audit.record_many(session, actor=doer, action="row_quarantined", object_type=kind, entries=refused)

    return write


def _noted(entry: Written) -> dict[str, int]:
    """What the trail says of a version: its number, and how many of its fields this server does not know (rule 11)."""
    unknown = len(entry.version.state.fields.keys() - KINDS[entry.kind].model.model_fields.keys())
    return {"version": entry.version.version, **({"unknown": unknown} if unknown else {})}


def _link_photos(session: Session, batch: Batch, *, owner_id: UUID | None, device_id: UUID | None) -> None:
    """Note the photos that the versions name, and have those that came before assessed by what was edited."""
    naming = [entry for entry in batch.versions if entry.version.state.fields.get("photos")]
    if not naming:
        return
    manifests = [(entry.document_id, entry.version.state.fields["photos"]) for entry in naming]
    photos.link_photos(
        session, source_type=SourceType.DOCUMENT, links=manifests, owner_id=owner_id, device_id=device_id
    )
    edited = {entry.document_id: entry.version.version for entry in naming if entry.version.version > 1}
    if edited:
        photos.assess_edited_later(session, edited)


def _ask_for_checks(session: Session, batch: Batch) -> None:
    jobs.enqueue_many(
        session,
        [
            jobs.NewJob(
                "workflows.crosscheck",
                f"document:{document_id}:{version}",
                {
                    "source_type": SourceType.DOCUMENT.value,
                    "source_id": str(document_id),
                    "source_version": version,
                },
            )
            for document_id, version in core.due_checks(batch)
        ],
    )
