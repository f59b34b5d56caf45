"""What is held about one subject, as a person can read it: his own records whole, of others' records his part only.

Blobs are opened with the keys of the subject alone, so nothing about a third person can come in.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.core.clock import now
from backend.services.erasure import NAMES, PATIENCE, Target
from backend.services.records import context_of
from backend.services.registry_sealing import context_of as record_context
from backend.services.sealing import Part, Vault, place

Entry = dict[str, Any]
Report = dict[str, Any]

TITLES = {
    "documents": "本人登记记录",
    "versions": "历史版本",
    "declarations": "自主申报",
    "declaration_versions": "自主申报的历史版本",
    "declared_in": "他人自主申报中涉及本人的内容",
    "named_in": "他人记录中涉及本人的内容",
    "verdicts": "比对结论与依据",
    "settlements": "认定经过",
    "cases": "相关案件",
    "conflicts": "并发修改冲突",
    "verifications": "向部门核实的内容",
    "reviews": "冲突与待审数据的处理",
    "joins": "重复记录的合并与拆分",
    "quarantined": "待审核的上报数据",
    "ledger": "终端上报流水",
    "business_records": "部门业务数据",
    "reports": "随手拍上报",
    "messages": "公众号消息",
    "notices": "通知",
    "consents": "告知与同意记录",
    "photos": "照片",
    "audit": "操作记录",
}


def collect(session: Session, target: Target) -> Report:
    """Everything, in lists by what it is, with a summary in words."""
    run = session.connection().execute
    run(PATIENCE)
    documents, declared = sorted(target.documents), sorted(target.declarations)
    subjects = [target.subject, *(one.bytes for one in (*documents, *declared))]
    named: Entry = {"ids": documents, "declared": declared, "subjects": subjects, "citizen": target.citizen_id}
    reports = run(_REPORTS, named).all()
    sources = [*documents, *declared, *(row.id for row in reports)]
    photos = [row.photo_id for row in run(_PHOTO_LINKS, {"sources": sources})]
    vault = Vault(session)
    vault.load([*subjects, *(row.id.bytes for row in reports), *(photo_id.bytes for photo_id in photos)])
    about: Entry = {"sources": sources, "photos": photos, "objects": [str(one) for one in (*sources, *photos)]}
    found: dict[str, list[Entry]] = {
        "documents": [_whole(vault, row, row.id) for row in run(_DOCUMENTS, named)],
        "versions": [_whole(vault, row, row.document_id) for row in run(_VERSIONS, named)],
        "declarations": [_whole(vault, row, row.id) for row in run(_DECLARATIONS, named)],
        "declaration_versions": [_whole(vault, row, row.declaration_id) for row in run(_DECLARATION_VERSIONS, named)],
        "declared_in": [_part(vault, row, context_of(row.id)) for row in run(_DECLARED_IN, named)],
        "named_in": [_part(vault, row, context_of(row.id)) for row in run(_NAMED_IN, named)],
        "verdicts": [_part(vault, row, row.id.bytes) for row in run(_VERDICTS, about)],
        "settlements": [_plain(row) for row in run(_SETTLEMENTS, about)],
        "cases": [_plain(row) for row in run(_CASES, about)],
        "conflicts": [_part(vault, row, context_of(row.document_id)) for row in run(_CONFLICTS, named)],
        "verifications": [_part(vault, row, context_of(row.document_id)) for row in run(_VERIFICATIONS, named)],
        "reviews": [_part(vault, row, row.id.bytes) for row in run(_REVIEWS, named)],
        "joins": [_part(vault, row, row.id.bytes) for row in run(_JOINS, named)],
        "quarantined": [_part(vault, row, b"quarantine" + row.id.bytes) for row in run(_QUARANTINED, named)],
        "ledger": [_plain(row) for row in run(_LEDGER, named)],
        "business_records": [_record(vault, row) for row in run(_RECORDS, named)],
        "reports": [_part(vault, row, row.id.bytes) for row in reports],
        "messages": [_plain(row) for row in run(_MESSAGES, named)],
        "notices": [_plain(row) for row in run(_NOTICES, named)],
        "consents": [_plain(row) for row in run(_CONSENTS, named)],
        "photos": [_part(vault, row, row.id.bytes) for row in run(_PHOTOS, about)],
        "audit": [_plain(row) for row in run(_AUDIT, about)],
    }
    return {"made_at": now().isoformat(), "summary": _summary(found), **found}


def _summary(found: dict[str, list[Entry]]) -> list[str]:
    """What a person reads first."""
    lines = ["本文件汇总系统中与您有关的全部信息。涉及他人的内容不在其中。"]
    lines += [f"{TITLES[name]}：{len(part)} 条" for name, part in found.items() if part]
    lines.append("各字段的处理目的、法律依据与保存期限见 /reference/v1/purposes。")
    return lines


def _whole(vault: Vault, row: Any, document_id: UUID) -> Entry:
    """A record about the subject, with all its fields that his keys open."""
    entry = _plain(row)
    body, sealed = entry.pop("body"), entry.pop("sealed")
    return entry | {"fields": place(dict(body or {}), vault.open(sealed, context=context_of(document_id)))}


def _part(vault: Vault, row: Any, context: bytes) -> Entry:
    """What a row of others says of the subject, by where it stands."""
    entry = _plain(row)
    return entry | {"content": _listed(vault.open(entry.pop("sealed"), context=context))}


def _record(vault: Vault, row: Any) -> Entry:
    entry = _plain(row)
    context = record_context(entry.pop("snapshot_id"), entry.pop("record_key"))
    return entry | {"content": _listed(vault.open(entry.pop("sealed"), context=context))}


def _listed(parts: Iterable[Part]) -> list[Entry]:
    return [{"place": ".".join(map(str, part.path)), "value": part.value} for part in parts]


def _plain(row: Any) -> Entry:
    return dict(row._mapping)


_DOCUMENTS = text(
    """
    SELECT id, kind, grid_id, version, deleted, created_at, updated_at, body, sealed FROM document
    WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id
    """
)
_VERSIONS = text(
    """
    SELECT document_id, version, grid_id, deleted, created_at, body, sealed FROM document_version
    WHERE document_id = ANY(CAST(:ids AS uuid[])) ORDER BY document_id, version
    """
)
_NAMED_IN = text(
    f"""
    SELECT id, kind, grid_id, updated_at, sealed FROM document d
    WHERE NOT deleted AND id <> ALL(CAST(:ids AS uuid[])) AND {NAMES.format("d.sealed")} ORDER BY id
    """
)
_DECLARATIONS = text(
    """
    SELECT id, kind, grid_id, version, state, end_reason, declared_at, created_at, updated_at, ended_at, body, sealed
    FROM declaration WHERE id = ANY(CAST(:declared AS uuid[])) ORDER BY id
    """
)
_DECLARATION_VERSIONS = text(
    """
    SELECT declaration_id, version, grid_id, declared_at, created_at, body, sealed FROM declaration_version
    WHERE declaration_id = ANY(CAST(:declared AS uuid[])) ORDER BY declaration_id, version
    """
)
_DECLARED_IN = text(
    f"""
    SELECT id, kind, grid_id, declared_at, sealed FROM declaration d
    WHERE id <> ALL(CAST(:declared AS uuid[])) AND {NAMES.format("d.sealed")} ORDER BY id
    """
)
_VERDICTS = text(
    """
    SELECT id, source_type, source_id, source_version, verdict, findings, created_at, superseded_at,
           evidence AS sealed FROM verdict
    WHERE source_id = ANY(CAST(:sources AS uuid[])) ORDER BY id
    """
)
_SETTLEMENTS = text(
    """
    SELECT id, source_id, source_version, course, reason, created_at, superseded_at FROM settlement
    WHERE source_id = ANY(CAST(:sources AS uuid[])) ORDER BY id
    """
)
_CASES = text(
    """
    SELECT id, source_id, reason, state, outcome, opened_at, closed_at FROM case_file
    WHERE source_id = ANY(CAST(:sources AS uuid[])) ORDER BY id
    """
)
_CONFLICTS = text(
    """
    SELECT id, document_id, field, hardness, state, created_at, sides AS sealed FROM conflict
    WHERE document_id = ANY(CAST(:ids AS uuid[])) ORDER BY id
    """
)
_VERIFICATIONS = text(
    """
    SELECT id, document_id, field, dataset, state, created_at, sides AS sealed FROM verification_request
    WHERE document_id = ANY(CAST(:ids AS uuid[])) ORDER BY id
    """
)
_REVIEWS = text(
    f"""
    SELECT s.id, s.action, s.from_state, s.to_state, s.role, s.reason, s.at, s.detail AS sealed FROM review_step s
    LEFT JOIN conflict c ON c.id = s.conflict_id LEFT JOIN quarantine q ON q.id = s.quarantine_id
    LEFT JOIN verification_request v ON v.id = s.verification_id
    WHERE coalesce(c.document_id, q.document_id, v.document_id) = ANY(CAST(:ids AS uuid[]))
       OR {NAMES.format("s.detail")} ORDER BY s.id
    """
)
_JOINS = text(
    """
    SELECT id, survivor_id, duplicate_id, undoes, reason, role, at, note AS sealed FROM record_join
    WHERE survivor_id = ANY(CAST(:ids AS uuid[])) OR duplicate_id = ANY(CAST(:ids AS uuid[])) ORDER BY id
    """
)
_QUARANTINED = text(
    f"""
    SELECT id, kind, code, state, created_at, payload AS sealed FROM quarantine
    WHERE get_byte(payload, 0) >= 128 AND {NAMES.format("payload")} ORDER BY id
    """
)
_LEDGER = text(
    """
    SELECT document_id, op, outcome, version, created_at FROM mutation
    WHERE document_id = ANY(CAST(:ids AS uuid[])) ORDER BY seq
    """
)
_RECORDS = text(
    f"""
    SELECT s.dataset_code AS dataset, s.taken_at, r.body, coalesce(r.sealed_in, r.snapshot_id) AS snapshot_id,
           r.record_key, r.sealed
    FROM business_record r JOIN snapshot s ON s.id = r.snapshot_id
    WHERE {NAMES.format("r.sealed")} ORDER BY s.taken_at, r.id
    """
)
_REPORTS = text(
    """
    SELECT id, state, grid_id, opened_at, submitted_at, sealed FROM report
    WHERE citizen_id = CAST(:citizen AS uuid) ORDER BY id
    """
)
_MESSAGES = text(
    """
    SELECT m.id, m.sent_at, m.report_id FROM wechat_message m JOIN citizen c ON c.openid_index = m.sender_index
    WHERE c.id = CAST(:citizen AS uuid) ORDER BY m.sent_at, m.id
    """
)
_NOTICES = text(
    """
    SELECT template, payload, created_at, send_result FROM notice
    WHERE recipient_type = 'citizen' AND recipient_id = CAST(:citizen AS uuid) ORDER BY id
    """
)
_CONSENTS = text("SELECT version, act, at FROM consent WHERE citizen_id = CAST(:citizen AS uuid) ORDER BY id")
_PHOTO_LINKS = text("SELECT DISTINCT photo_id FROM photo_link WHERE source_id = ANY(CAST(:sources AS uuid[]))")
_PHOTOS = text(
    """
    SELECT id, state, size, mime, width, height, taken_at, created_at, claims AS sealed FROM photo
    WHERE id = ANY(CAST(:photos AS uuid[])) ORDER BY id
    """
)
_AUDIT = text(
    """
    SELECT at, actor, action, object_type, object_id FROM audit_entry
    WHERE object_id = ANY(CAST(:objects AS text[])) ORDER BY at, id
    """
)
