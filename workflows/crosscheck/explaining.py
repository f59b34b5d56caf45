"""Why an entry is settled as it is: the verdict with its rules, snapshot and evidence, and whose value stands.

Shown within the scope of verdicts, and masked like them.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlmodel import Session, col, select

from backend.core.enums import SourceType
from backend.core.errors import NotFound
from backend.kinds import KINDS
from backend.models import FieldAuthority, RoutingRule, Settlement, Visit
from backend.services.sealing import open_value
from backend.services.sessions import Caller
from backend.services.settlement_schemas import SettlementOut
from workflows.crosscheck import reading
from workflows.crosscheck.schemas import EvidenceOut, Explained, StandingValue


def settlements_of(session: Session, caller: Caller, source_type: SourceType, source_id: UUID) -> list[SettlementOut]:
    """What one entry has been settled as, the newest first. `NotFound` outside the caller's scope."""
    reading.check_visible(session, caller, source_type, source_id)
    query = select(Settlement).where(Settlement.source_type == source_type, Settlement.source_id == source_id)
    found = session.exec(query.order_by(col(Settlement.created_at).desc(), col(Settlement.id).desc())).all()
    return [SettlementOut.model_validate(one) for one in found]


def explained(session: Session, caller: Caller, settlement_id: UUID) -> Explained:
    """One settlement with all that it rests on. `NotFound` outside the caller's scope."""
    settled = session.get(Settlement, settlement_id)
    if settled is None:
        raise NotFound
    verdict = reading.verdict_with_evidence(session, caller, settled.verdict_id)
    rule = session.get(RoutingRule, settled.routing_rule_id) if settled.routing_rule_id else None
    visit = session.get(Visit, settled.visit_id) if settled.visit_id else None
    return Explained(
        **SettlementOut.model_validate(settled).model_dump(),
        routing_rule=rule.name if rule else None,
        note=open_value(session, settled.note, context=settled.id.bytes),
        visit_state=visit.state if visit else None,
        visit_result=visit.result if visit else None,
        verdict=verdict,
        standing=_standing(session, settled, verdict.evidence),
    )


def _standing(session: Session, settled: Settlement, evidence: Iterable[EvidenceOut]) -> list[StandingValue]:
    """By field of the record that was compared with a dataset, as authority was when the verdict was settled."""
    names = {item.field.partition(".")[0] for item in evidence if item.dataset} & set(
        KINDS[settled.kind].model.model_fields
    )
    query = select(FieldAuthority).where(
        FieldAuthority.document_id == settled.source_id,
        col(FieldAuthority.field).in_(names),
        col(FieldAuthority.at) <= settled.created_at,
    )
    owned = {row.field: row for row in session.exec(query)}
    return [_value(name, owned.get(name), KINDS[settled.kind].stewarded.get(name)) for name in sorted(names)]


def _value(name: str, row: FieldAuthority | None, dataset: str | None) -> StandingValue:
    if row is None:
        return StandingValue(field=name, stands="grid", dataset=dataset)
    return StandingValue(field=name, stands="department", dataset=row.dataset, version=row.version, since=row.at)
