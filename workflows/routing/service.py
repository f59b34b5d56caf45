"""The routing table as it stands in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from sqlmodel import Session, col, select

from backend.core.errors import ZhiwangError
from backend.models import CaseQueue, RegistrationStandard, RoutingRule
from workflows.routing import rules


class RoutingTableBroken(ZhiwangError):
    """A rule, queue or standard that routing needs is missing or unreadable; the job waits for it to be repaired."""

    code = "routing_table_broken"
    status = 503
    title_zh = "分派规则配置有误，请联系系统管理员"
    title_en = "The routing table is incomplete or has an unreadable rule"


@dataclass(frozen=True, slots=True)
class Table:
    """The active rules, and the territory that each queue serves."""

    lines: Sequence[rules.Rule]
    queues: Mapping[str, str]

    def decide(self, facts: rules.Facts) -> rules.RoutingDecision | None:
        """Where an entry goes; None where it needs no case. `RoutingTableBroken` where that cannot be told."""
        try:
            return rules.route(facts, self.lines, self.queues)
        except (LookupError, ValueError) as error:
            raise RoutingTableBroken from error


def table_of(session: Session) -> Table:
    """The table in force, for as many entries as a transaction routes. `RoutingTableBroken` where it is unreadable."""
    table = [_parsed(row) for row in session.exec(select(RoutingRule).where(col(RoutingRule.active)))]
    return Table(table, {queue.code: queue.territory_code for queue in session.exec(select(CaseQueue))})


def standard_of(session: Session, decision: rules.RoutingDecision) -> RegistrationStandard:
    """The standard that a decision names. `RoutingTableBroken` where there is none."""
    standard = session.get(RegistrationStandard, (decision.standard_scheme, decision.standard_code))
    if standard is None:
        raise RoutingTableBroken(rule=decision.rule_id)
    return standard


def _parsed(row: RoutingRule) -> rules.Rule:
    try:
        conditions = rules.Conditions.model_validate(row.conditions)
    except ValidationError as error:
        raise RoutingTableBroken(rule=row.id) from error
    return rules.Rule(row.id, row.position, conditions, row.queue_code, row.standard_scheme, row.standard_code)
