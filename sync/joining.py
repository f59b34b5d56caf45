"""Joining duplicates: two offline records of one person, house or thing become one, and can be taken apart again.

The survivor keeps its id and gets a version with what only the other one knows. The other one becomes a tombstone that
names the survivor; its history stays. Photos are linked to the survivor; verdicts and cases are found with it
(`backend.services.documents.merged_ids`). Both versions are written like a resolution: ledger, history, feed, audit.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, or_, select

from backend.core.enums import COLLECTED_KINDS, Kind
from backend.core.errors import NotFound, PreconditionFailed
from backend.core.ids import new_id
from backend.kinds import KINDS
from backend.kinds import Document as Fields
from backend.kinds.forms import faults
from backend.models import Document, RecordJoin
from backend.services import audit, photos
from backend.services.records import StoredRow, open_rows, subject_of
from backend.services.scope import in_territory
from backend.services.sealing import SubjectErased, Vault, seal_value
from backend.services.sessions import Caller
from sync import ownership, service, store
from sync.decided import erased_subjects
from sync.join_rules import JOIN_REASONS, PART_REASONS, changed, joined, restored
from sync.join_schemas import JoinAsked, Joins, JoinView, PartAsked
from sync.known import Known, Wanted
from sync.review import shown_field
from sync.review_desk import Desk, open_desk
from sync.review_errors import FieldChanged, NotJoinable, RecordUnfit, ValueGone
from sync.rules import State, same_state


def join(session: Session, *, caller: Caller, survivor_id: UUID, version: int, asked: JoinAsked) -> JoinView:
    """Join a duplicate into the record, of which the caller has read `version`.

    `NotFound` where one of them is outside the caller's territory, `PreconditionFailed` where one has moved on,
    `NotJoinable` where they are not two live records of one kind, `RecordUnfit` where the result breaks the form.
    """
    desk = open_desk(session, caller, [survivor_id, asked.duplicate_id])
    vault = Vault(session)
    records = _records(desk, survivor_id, asked.duplicate_id)
    _check_versions(records, version, asked.duplicate_version)
    survivor, duplicate = records
    if survivor.kind is not duplicate.kind or survivor.id == duplicate.id:
        raise NotJoinable(because="kind" if survivor.kind is not duplicate.kind else "same")
    if survivor.deleted or duplicate.deleted:
        raise NotJoinable(because="deleted")
    known = _known(desk, records, vault)
    before, other = (_fields(known[record.id]) for record in records)
    after = joined(KINDS[survivor.kind], before, other, take=asked.take)
    _write(desk, known[survivor.id], State(after), survivor, vault)
    _write(desk, known[duplicate.id], State({}, deleted=True), duplicate, vault)
    session.connection().execute(_MERGE, {"id": duplicate.id, "into": survivor.id})
    photos.follow(session, source_id=duplicate.id, target_id=survivor.id)
    _claim(desk, known[survivor.id], changed(before, after), {*asked.take, *known[duplicate.id].owned})
    return _noted(desk, records, known, asked, before=before, after=after)


def part(session: Session, *, caller: Caller, survivor_id: UUID, version: int, asked: PartAsked) -> JoinView:
    """Take a join apart: both records as they were, as new versions.

    `FieldChanged` where a field that the survivor got by it was changed since, `NotJoinable` where the two are not
    joined now; other errors as of `join`.
    """
    desk = open_desk(session, caller, [survivor_id, asked.duplicate_id])
    vault = Vault(session)
    records = _records(desk, survivor_id, asked.duplicate_id)
    survivor, duplicate = records
    last = _last_join(session, survivor_id, asked.duplicate_id)
    if last is None or not duplicate.deleted or duplicate.merged_into != survivor.id:
        raise NotJoinable(because="not_joined")
    _check_versions(records, version, duplicate.version)
    known = _known(desk, records, vault)
    before = _content(session, survivor, last.survivor_before, vault)
    after = _content(session, survivor, last.survivor_version, vault)
    now_again = restored(before, after, _fields(known[survivor.id]))
    if survivor.deleted or now_again is None:
        raise FieldChanged(version=survivor.version)
    revived = _content(session, duplicate, last.duplicate_before, vault)
    _write(desk, known[survivor.id], State(now_again), survivor, vault)
    _write(desk, known[duplicate.id], State(revived), duplicate, vault)
    session.connection().execute(_MERGE, {"id": duplicate.id, "into": None})
    return _noted(desk, records, known, asked, before=after, after=now_again, undoes=last.id)


def joins_of(session: Session, *, caller: Caller, document_id: UUID) -> Joins:
    """What was joined into a record or made it a duplicate. `NotFound` outside the caller's territory."""
    query = select(Document.id).where(Document.id == document_id, in_territory(Document.grid_id, caller))
    if session.exec(query).first() is None:
        raise NotFound
    either = or_(col(RecordJoin.survivor_id) == document_id, col(RecordJoin.duplicate_id) == document_id)
    rows = session.exec(select(RecordJoin).where(either).order_by(col(RecordJoin.id))).all()
    return Joins(joins=[_view(row) for row in rows])


Pair = tuple[Document, Document]


def _records(desk: Desk, survivor_id: UUID, duplicate_id: UUID) -> Pair:
    query = select(Document).where(
        col(Document.id).in_([survivor_id, duplicate_id]),
        col(Document.kind).in_(COLLECTED_KINDS),
        in_territory(Document.grid_id, desk.caller),
    )
    found = {document.id: document for document in desk.session.exec(query)}
    if survivor_id not in found or duplicate_id not in found:
        raise NotFound
    return found[survivor_id], found[duplicate_id]


def _check_versions(records: Pair, survivor_version: int, duplicate_version: int) -> None:
    survivor, duplicate = records
    if survivor.version != survivor_version:
        raise PreconditionFailed(version=survivor.version)
    if duplicate.version != duplicate_version:
        raise PreconditionFailed(duplicate_version=duplicate.version)


def _known(desk: Desk, records: Pair, vault: Vault) -> dict[UUID, Known]:
    wanted = [Wanted(record.id, record.id, None, record.deleted) for record in records]
    return store.read(desk.session, wanted, device_id=None, vault=vault)


def _fields(known: Known) -> Fields:
    assert known.master is not None
    return known.master.state.fields


def _content(session: Session, record: Document, version: int, vault: Vault) -> Fields:
    """The fields of a version that was live; `ValueGone` where it cannot be read whole any more."""
    row = session.connection().execute(_VERSION, {"id": record.id, "version": version}).one()
    (fields,) = open_rows(session, [StoredRow(record.id, row.body, row.sealed)], vault=vault)
    if row.deleted or faults(KINDS[record.kind], fields):
        raise ValueGone
    return fields


def _write(desk: Desk, known: Known, target: State, record: Document, vault: Vault) -> None:
    assert known.master is not None
    if same_state(known.master.state, target):
        return
    if not target.deleted and (places := faults(KINDS[record.kind], target.fields)):
        raise RecordUnfit(places=places)
    if gone := vault.erased(erased_subjects(record.id, record.kind, target)):
        raise SubjectErased(gone)
    reviewer = desk.caller.account_id
    desk.touches += service.write_reviewed(
        desk.session,
        known,
        target,
        kind=record.kind,
        reviewer=reviewer,
        owner=record.account_id or reviewer,
        vault=vault,
    )


def _claim(desk: Desk, known: Known, changed: Collection[str], decided: Collection[str]) -> None:
    """A department's fields that the steward took by name, or that were its own in the duplicate, are its own here."""
    assert known.master is not None
    assert known.kind is not None
    stewarded = KINDS[known.kind].stewarded
    fields = {name: stewarded[name] for name in changed if name in decided and name in stewarded}
    version = known.master.version
    ownership.claim(desk.session, known.id, fields, version=version, caller=desk.caller, at=desk.moment)


def _noted(
    desk: Desk,
    records: Pair,
    known: dict[UUID, Known],
    asked: JoinAsked | PartAsked,
    *,
    before: Fields,
    after: Fields,
    undoes: UUID | None = None,
) -> JoinView:
    """Note the act, audit it, and touch the feed as the last thing."""
    survivor, duplicate = records
    row = RecordJoin(
        id=new_id(),
        survivor_id=survivor.id,
        duplicate_id=duplicate.id,
        undoes=undoes,
        survivor_before=survivor.version,
        survivor_version=_version(known[survivor.id]),
        duplicate_before=duplicate.version,
        duplicate_version=_version(known[duplicate.id]),
        taken=_shown(survivor.kind, changed(before, after)),
        actor=desk.caller.account_id,
        role=desk.caller.role,
        reason=asked.reason,
        at=desk.moment,
    )
    if asked.note is not None:
        subject = subject_of(KINDS[survivor.kind], survivor.id, after)
        row.note = seal_value(desk.session, subject, asked.note, context=row.id.bytes)
    desk.session.add(row)
    desk.session.flush()
    audit.record(
        desk.session,
        actor=str(desk.caller.account_id),
        action="records_parted" if undoes else "records_joined",
        object_type=survivor.kind.value,
        object_id=str(survivor.id),
        duplicate=str(duplicate.id),
        join=str(row.id),
        reason=asked.reason,
    )
    desk.close()
    return _view(row)


def _version(known: Known) -> int:
    assert known.master is not None
    return known.master.version


def _shown(kind: Kind, names: Sequence[str]) -> list[str]:
    return [shown_field(KINDS[kind], name) for name in names]


def _view(row: RecordJoin) -> JoinView:
    texts = JOIN_REASONS | PART_REASONS
    return JoinView.model_validate({**row.model_dump(), "reason_zh": texts[row.reason]})


def _last_join(session: Session, survivor_id: UUID, duplicate_id: UUID) -> RecordJoin | None:
    undone = select(RecordJoin.undoes).where(col(RecordJoin.undoes).is_not(None))
    query = select(RecordJoin).where(
        RecordJoin.survivor_id == survivor_id,
        RecordJoin.duplicate_id == duplicate_id,
        col(RecordJoin.undoes).is_(None),
        col(RecordJoin.id).not_in(undone),
    )
    return session.exec(query.order_by(col(RecordJoin.id).desc()).limit(1)).first()


_MERGE = text("UPDATE document SET merged_into = :into WHERE id = :id")
_VERSION = text("SELECT body, sealed, deleted FROM document_version WHERE document_id = :id AND version = :version")
