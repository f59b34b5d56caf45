"""The routing table as it stands in the database."""

from pydantic import ValidationError
from sqlmodel import Session, col, select

from backend.core.errors import ZhiwangError
from backend.models import CaseQueue, RoutingRule
from workflows.routing import rules


class RoutingTableBroken(ZhiwangError):
    """A rule, queue or standard that routing needs is missing or unreadable; the job waits for it to be repaired."""

    code = "routing_table_broken"
    status = 503
    title_zh = "分派规则配置有误，请联系系统管理员"
    title_en = "The routing table is incomplete or has an unreadable rule"


def decide(session: Session, facts: rules.Facts) -> rules.RoutingDecision | None:
    """Route by the active rules; None where the entry needs no case. `RoutingTableBroken` where that cannot be told."""
    table = [_parsed(row) for row in session.exec(select(RoutingRule).where(col(RoutingRule.active)))]
    queues = {queue.code: queue.territory_code for queue in session.exec(select(CaseQueue))}
    try:
        return rules.route(facts, table, queues)
    except (LookupError, ValueError) as error:
        raise RoutingTableBroken from error


def _parsed(row: RoutingRule) -> rules.Rule:
    try:
        conditions = rules.Conditions.model_validate(row.conditions)
    except ValidationError as error:
        raise RoutingTableBroken(rule=row.id) from error
    return rules.Rule(row.id, row.position, conditions, row.queue_code, row.standard_scheme, row.standard_code)
