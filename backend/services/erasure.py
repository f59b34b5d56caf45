"""Erasure: what is done to forget somebody, in two jobs.

`erase` is short and shuts writers out while it runs: it destroys the keys, buries the subject's own documents and
removes what finds them, so that from its commit on nobody can read or find anything. `remove_traces` then goes through
the big tables, whose ciphertexts nobody can open any more, for fingerprints, quarantined rows, business records,
photos, and documents of others that name the human. Both can run twice. `replay` does both for a restored database.

History is append-only for our database role, so it is emptied by functions of the migration that touch nothing but
the rows of subjects with a tombstone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from backend import jobs
from backend.core.clock import now
from backend.core.enums import ErasureState, Kind, SourceType, SubjectType
from backend.core.ids import new_id
from backend.kinds import KINDS, identity_of
from backend.models import AccessRequest, Citizen, Document, DocumentVersion, Erasure, Report
from backend.services import (
    audit,
    documents,
    erased,
    erasure_declarations,
    erasure_files,
    erasure_ledger,
    erasure_photos,
    erasure_quarantine,
    feed,
    file_removal,
    sealing,
)
from backend.services.erasure_ledger import Line
from backend.services.records import StoredRow, id_index, open_rows
from backend.services.registry_catalogue import human_datasets

ACTOR = "life.erasure"
ERASE_JOB = "life.erase"
TRACES_JOB = "life.erase_traces"
REPUBLISH_JOB = "sync.republish"
HUMAN_KINDS = [kind.value for kind, spec in KINDS.items() if spec.subject_is_human]
LOAD_AWAITED = timedelta(minutes=10)
LOADS_AWAITED = 3

Counts = dict[str, int]
Buried = list[feed.Touch]


@dataclass(slots=True)
class Target:
    """Who is to be forgotten: the subject named in the ledger, and what is his own."""

    type: SubjectType
    subject: bytes
    id_index: bytes | None = None
    documents: set[UUID] = field(default_factory=set)
    declarations: set[UUID] = field(default_factory=set)
    citizen_id: UUID | None = None


def erase(session: Session, *, erasure_id: UUID, ledger_path: Path) -> None:
    """Run an approved erasure up to the point from which nothing can be read; the rest is left to `remove_traces`.

    Nothing where it ran before. `jobs.Discard` where the document or citizen is not known.
    """
    request = session.exec(select(Erasure).where(Erasure.id == erasure_id).with_for_update()).first()
    if request is None:
        raise jobs.Discard("erasure_unknown")
    if request.state is not ErasureState.APPROVED:
        return
    erased.take_turn(session)
    target = target_of(session, request)
    buried: Buried = []
    request.report = _forget(session, target, buried)
    request.subject, request.id_index, request.state = target.subject, None, ErasureState.ERASING
    line = Line(now(), target.type, target.subject, tuple(sorted(target.documents)), request.reason, request.id)
    erasure_ledger.append(ledger_path, line)
    jobs.enqueue(session, TRACES_JOB, key=f"{erasure_id}:0", erasure_id=str(erasure_id), tries=0)
    audit.record(session, actor=ACTOR, action="erased", object_type="erasure", object_id=str(erasure_id))
    feed.touch(session, buried)


def remove_traces(session: Session, *, erasure_id: UUID, tries: int) -> None:
    """Finish an erasure whose keys are destroyed, and note what was found.

    While a dataset is being loaded, rows that it read before may still come in: then another run follows.
    """
    request = session.exec(select(Erasure).where(Erasure.id == erasure_id).with_for_update()).first()
    if request is None or request.state is not ErasureState.ERASING or request.subject is None:
        return
    buried: Buried = []
    found = _remove_traces(session, [request.subject], buried)
    found["access_file"] = erasure_files.drop_reports(session, [request.subject])
    if request.subject_type is not SubjectType.CITIZEN and request.subject != _bytes_of(request.document_id):
        found["reject_file"] = erasure_files.drop_rejects(session)
    request.report = _sum(request.report, found)
    if tries < LOADS_AWAITED and session.connection().execute(_LOADING).scalar_one():
        payload = {"erasure_id": str(erasure_id), "tries": tries + 1}
        again = jobs.NewJob(TRACES_JOB, f"{erasure_id}:{tries + 1}", payload, delay=LOAD_AWAITED)
        jobs.enqueue_many(session, [again])
    else:
        request.state, request.finished_at = ErasureState.DONE, now()
        audit.record(session, actor=ACTOR, action="traces_removed", object_type="erasure", object_id=str(erasure_id))
    session.flush()
    feed.touch(session, buried)


def replay(session: Session, *, ledger_path: Path) -> int:
    """Forget again everybody in the ledger whom a restored database still knows; gives how many there were.

    For a database that nobody else uses yet. Idempotent: an erasure that this database finished is passed over. The
    caller commits. `LedgerDamaged` where the ledger cannot be read.
    """
    lines = {line.run: line for line in erasure_ledger.read(ledger_path)}
    finished = select(Erasure.id).where(col(Erasure.id).in_(lines), Erasure.state == ErasureState.DONE)
    for run in session.exec(finished).all():
        del lines[run]
    if not lines:
        return 0
    erased.take_turn(session)
    buried: Buried = []
    counts = {line.run: _forget(session, _target_of_line(line), buried) for line in lines.values()}
    traces = _remove_traces(session, [line.subject for line in lines.values()], buried)
    for line in lines.values():
        _note_replayed(session, line, counts[line.run])
    file_removal.remove_waiting(session)
    audit.record(
        session, actor=ACTOR, action="erasures_replayed", object_type="erasure", object_id="ledger", lines=len(lines)
    )
    audit.record(session, actor=ACTOR, action="traces_removed", object_type="erasure", object_id="ledger", **traces)
    feed.touch(session, buried)
    return len(lines)


def remove_leftovers(session: Session, since: datetime) -> int:
    """Keys, records and indexes of erased people that were written beside their erasure; gives how many there were.

    The gate leaves none. This is the second wall: it reads what was written since, opens nothing, and acts only on
    subjects with a tombstone.
    """
    run = session.connection().execute
    found: int = run(_LEFTOVER_KEYS).rowcount
    rows = run(_WRITTEN_SINCE, {"since": since}).all()
    gone = sealing.erased_among(session, sealing.subjects_in(row.sealed for row in rows))
    named = [row for row in rows if gone & sealing.subjects_in([row.sealed])]
    own = [row.id for row in named if row.kind in HUMAN_KINDS]
    buried: Buried = []
    found += _bury(session, own, buried).get("document", 0)
    nesting = [row.id for row in named if row.kind not in HUMAN_KINDS]
    _republish(session, nesting)
    declared = erasure_declarations.written_since(session, since, HUMAN_KINDS)
    found += erasure_declarations.forget(session, declared, actor=ACTOR).get("declaration", 0)
    feed.touch(session, buried)
    return found + len(nesting)


def _republish(session: Session, document_ids: Sequence[UUID]) -> None:
    ask = [jobs.NewJob(REPUBLISH_JOB, f"{one}:{new_id()}", {"document_id": str(one)}) for one in document_ids]
    jobs.enqueue_many(session, ask)


def _note_replayed(session: Session, line: Line, counts: Counts) -> None:
    request = session.get(Erasure, line.run)
    if request is None:
        request = Erasure(
            id=line.run,
            subject_type=line.type,
            citizen_id=UUID(bytes=line.subject) if line.type is SubjectType.CITIZEN else None,
            reason=line.reason,
            state=ErasureState.DONE,
            requested_at=line.at,
        )
    request.subject, request.id_index, request.state = line.subject, None, ErasureState.DONE
    request.finished_at, request.report = now(), {**counts, "replayed": 1}
    session.add(request)
    session.flush()


def target_of(session: Session, request: Erasure | AccessRequest) -> Target:
    """Who a request names, with the documents that are about him. `jobs.Discard` where it names an unknown document."""
    if request.subject_type is SubjectType.CITIZEN:
        assert request.citizen_id is not None
        return Target(SubjectType.CITIZEN, request.citizen_id.bytes, citizen_id=request.citizen_id)
    if request.subject_type is SubjectType.DOCUMENT:
        assert request.document_id is not None
        return _target_of_document(session, request.document_id)
    assert request.subject is not None
    return _human(session, request.subject, request.id_index)


def _target_of_document(session: Session, document_id: UUID) -> Target:
    """The human a document is about, with all his documents; where it names none, the document by itself.

    A deleted record says nothing any more: then its last version that names somebody counts.
    """
    row = session.get(Document, document_id)
    if row is None:
        raise jobs.Discard("document_unknown")
    identity = None
    if KINDS[row.kind].subject_is_human:
        states = [StoredRow(row.id, row.body, row.sealed)]
        if row.deleted:
            states += [StoredRow(row.id, past.body, past.sealed) for past in _versions(session, document_id)]
        identity = next(filter(None, map(identity_of, open_rows(session, states))), None)
    if identity is None:
        return Target(SubjectType.DOCUMENT, document_id.bytes, documents={document_id})
    target = _human(session, sealing.human(identity.id_type, identity.id_number), id_index(identity))
    target.documents.add(document_id)
    return target


def _versions(session: Session, document_id: UUID) -> Sequence[DocumentVersion]:
    past = select(DocumentVersion).where(DocumentVersion.document_id == document_id)
    return session.exec(past.order_by(col(DocumentVersion.version).desc())).all()


def _human(session: Session, subject: bytes, index: bytes | None) -> Target:
    own = session.exec(select(Document.id).where(Document.id_index == index)).all() if index else ()
    declared = erasure_declarations.of_human(session, index) if index else set()
    return Target(SubjectType.HUMAN, subject, id_index=index, documents=set(own), declarations=declared)


def _target_of_line(line: Line) -> Target:
    citizen = UUID(bytes=line.subject) if line.type is SubjectType.CITIZEN else None
    return Target(line.type, line.subject, documents=set(line.documents), citizen_id=citizen)


def _forget(session: Session, target: Target, buried: Buried) -> Counts:
    """Destroy the keys of a target, and bury and unlink what is its own."""
    counts = {"keys": sealing.destroy_keys(session, [target.subject])}
    counts |= _bury(session, target.documents, buried)
    counts = _sum(counts, erasure_declarations.forget(session, target.declarations, actor=ACTOR))
    if target.id_index is not None:
        key = {"key": target.id_index.hex(), "datasets": human_datasets(session)}
        counts["business_record"] = session.connection().execute(_DELETE_RECORDS_BY_KEY, key).rowcount
    if target.citizen_id is not None:
        counts = _sum(counts, _forget_citizen(session, target.citizen_id))
    subjects = [target.subject, *(document_id.bytes for document_id in target.documents)]
    counts["access_file"] = erasure_files.drop_reports(session, subjects)
    if target.type is SubjectType.HUMAN:
        counts["reject_file"] = erasure_files.drop_rejects(session)
    return counts


def _bytes_of(document_id: UUID | None) -> bytes | None:
    return document_id.bytes if document_id is not None else None


def _bury(session: Session, document_ids: Iterable[UUID], buried: Buried) -> Counts:
    """Turn documents into tombstones and empty their history. Buried ones are left alone.

    Each is added to `buried`, for the handhelds to be told: the caller touches the feed when all else is written.
    """
    ids = sorted(document_ids)
    if not ids:
        return {}
    documents.lock(session, ids)
    counts = {"keys": sealing.destroy_keys(session, [document_id.bytes for document_id in ids])}
    run = session.connection().execute
    counts["devices"] = run(_DEVICES, {"ids": ids, "now": now()}).scalar_one()
    rows = list(run(_BURY, {"ids": ids, "ops": [new_id() for _ in ids], "now": now()}))
    buried += [(row.grid_id, row.id, Kind(row.kind)) for row in rows]
    counts["document"] = len(rows)
    counts = _sum(counts, _empty_history(session, SourceType.DOCUMENT, ids))
    counts = _sum(counts, erasure_photos.forget(session, source_type=SourceType.DOCUMENT, source_ids=ids))
    audit.record_many(
        session,
        actor=ACTOR,
        action="document_erased",
        object_type="document",
        entries=[(str(row.id), {"version": row.version}) for row in rows],
    )
    return counts


def _empty_history(session: Session, source: SourceType, ids: Sequence[UUID]) -> Counts:
    rows = session.connection().execute(_EMPTY_HISTORY, {"source": source.value, "ids": list(ids)})
    return {row.part: row.affected for row in rows}


def _forget_citizen(session: Session, citizen_id: UUID) -> Counts:
    """Forget who a citizen is and what he wrote. His reports stay as cases without words, place or photos.

    The OpenID's index is replaced by a random one: who writes again later is somebody new.
    """
    citizen = session.exec(select(Citizen).where(Citizen.id == citizen_id).with_for_update()).first()
    if citizen is None:
        return {}
    report_ids = list(session.exec(select(Report.id).where(Report.citizen_id == citizen_id)).all())
    run = session.connection().execute
    counts = {"keys": sealing.destroy_keys(session, [report_id.bytes for report_id in report_ids])}
    index = {"index": citizen.openid_index}
    counts["wechat_message"] = run(_DELETE_MESSAGES, index).rowcount
    counts["keys"] += run(_DELETE_KEY, index).rowcount
    counts["notice"] = run(_DELETE_NOTICES, {"citizen": citizen_id}).rowcount
    counts["report"] = run(_EMPTY_REPORTS, {"citizen": citizen_id}).rowcount
    counts["citizen"] = run(_EMPTY_CITIZEN, {"citizen": citizen_id, "index": new_id().bytes}).rowcount
    session.expire_all()
    counts = _sum(counts, _empty_history(session, SourceType.REPORT, report_ids))
    return _sum(counts, erasure_photos.forget(session, source_type=SourceType.REPORT, source_ids=report_ids))


def _remove_traces(session: Session, subjects: Sequence[bytes], buried: Buried) -> Counts:
    """Go through the big tables for ciphertexts of destroyed keys. Rows name their subjects in the open."""
    run = session.connection().execute
    run(PATIENCE)
    named: dict[str, Any] = {"subjects": list(subjects), "kinds": HUMAN_KINDS, "datasets": human_datasets(session)}
    counts = _bury(session, [row.id for row in run(_OWN_DOCUMENTS, named)], buried)
    declared = erasure_declarations.naming(session, subjects, HUMAN_KINDS)
    counts = _sum(counts, erasure_declarations.forget(session, declared, actor=ACTOR))
    nesting = [row.id for row in run(_NESTING, named)]
    _republish(session, nesting)
    found = {
        "republished": len(nesting),
        "fingerprint": run(_ERASE_FINGERPRINTS, named).scalar_one(),
        "business_record": run(_DELETE_RECORDS, named).rowcount,
    }
    quarantined = erasure_quarantine.forget(session, subjects=subjects, kinds=HUMAN_KINDS)
    return _sum(counts, found, quarantined)


def _sum(*parts: Counts) -> Counts:
    total: Counts = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return total


NAMES = "EXISTS (SELECT FROM unnest(CAST(:subjects AS bytea[])) AS gone (subject) WHERE position(subject IN {}) > 0)"
PATIENCE = text("SET LOCAL statement_timeout = '480s'")
_LOADING = text("SELECT EXISTS (SELECT FROM snapshot WHERE state = 'loading')")
_LEFTOVER_KEYS = text("DELETE FROM subject_key k USING erased_subject e WHERE k.subject_id = e.subject_id")
_WRITTEN_SINCE = text(
    "SELECT id, kind, sealed FROM document WHERE updated_at > :since AND NOT deleted AND sealed IS NOT NULL"
)
_DEVICES = text(
    """
    SELECT count(DISTINCT device.id) FROM device
    WHERE device.revoked_at IS NULL AND (
        device.id IN (SELECT device_id FROM mutation WHERE document_id = ANY(:ids))
        OR device.account_id IN (SELECT m.account_id FROM membership m JOIN document d ON d.grid_id = m.grid_id
                                 WHERE d.id = ANY(:ids) AND m.starts_at <= :now
                                   AND (m.ends_at IS NULL OR m.ends_at > :now)))
    """
)
_BURY = text(
    """
    WITH buried AS (
        UPDATE document d SET
            version = d.version + 1, op = given.op, deleted = true, body = '{}', sealed = NULL, id_index = NULL,
            phone_index = NULL, block_index = NULL, name_year_index = NULL, name_address_index = NULL,
            link_index = NULL, natural_key = NULL, h3_cell = NULL,
            account_id = NULL, device_id = NULL, captured_at = NULL, updated_at = :now
        FROM unnest(CAST(:ids AS uuid[]), CAST(:ops AS uuid[])) AS given (id, op)
        WHERE d.id = given.id AND NOT (d.deleted AND d.sealed IS NULL AND d.body::text = '{}' AND d.device_id IS NULL)
        RETURNING d.id, d.kind, d.version, d.op, d.grid_id
    ), appended AS (
        INSERT INTO document_version (document_id, version, op, grid_id, deleted, body, created_at)
        SELECT id, version, op, grid_id, true, '{}', :now FROM buried
    )
    SELECT id, kind, version, grid_id FROM buried
    """
)
_EMPTY_HISTORY = text(
    "SELECT part, affected FROM erase_history(CAST(:source AS text), CAST(:ids AS uuid[])) WHERE affected > 0"
)
_ERASE_FINGERPRINTS = text("SELECT erase_fingerprints(CAST(:subjects AS bytea[]))")
_DELETE_RECORDS_BY_KEY = text(
    """
    DELETE FROM business_record USING snapshot s
    WHERE s.id = business_record.snapshot_id AND s.dataset_code = ANY(:datasets) AND business_record.record_key = :key
    """
)
_DELETE_RECORDS = text(
    f"""
    DELETE FROM business_record USING snapshot s
    WHERE s.id = business_record.snapshot_id AND s.dataset_code = ANY(:datasets)
      AND {NAMES.format("business_record.sealed")}
    """
)
_OWN_DOCUMENTS = text(
    f"""
    SELECT d.id FROM document d WHERE d.kind = ANY(:kinds) AND {NAMES.format("d.sealed")}
    UNION
    SELECT d.id FROM document_version v JOIN document d ON d.id = v.document_id
    WHERE d.kind = ANY(:kinds) AND d.deleted AND {NAMES.format("v.sealed")}
    """
)
_NESTING = text(
    f"SELECT d.id FROM document d WHERE NOT d.deleted AND d.kind <> ALL(:kinds) AND {NAMES.format('d.sealed')}"
)
_DELETE_MESSAGES = text("DELETE FROM wechat_message WHERE sender_index = :index")
_DELETE_KEY = text("DELETE FROM subject_key WHERE subject_id = :index")
_DELETE_NOTICES = text("DELETE FROM notice WHERE recipient_type = 'citizen' AND recipient_id = :citizen")
_EMPTY_REPORTS = text(
    """
    UPDATE report SET sealed = NULL, h3_cell = NULL,
                      body = json_build_object('scheme', body -> 'scheme', 'class_code', body -> 'class_code')
    WHERE citizen_id = :citizen
    """
)
_EMPTY_CITIZEN = text("UPDATE citizen SET openid = '', openid_index = :index WHERE id = :citizen")
