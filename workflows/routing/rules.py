"""The routing table: the first rule whose conditions hold decides. Pure: the rules are an argument."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from backend.core.enums import Kind, SourceType, VerdictKind

DISTRICT = "district"
HOTLINE = "12345"
URGENT = "urgent"
"""The severity that a collector gives to what cannot wait."""
WORKER = "worker"
"""The word for whoever holds the grid: he looks on site first, and no case is opened."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What routing knows of a checked entry. `class_code` and `severity` are as its collector gave them. `asked`: no
    worker is to be asked any more, so rules that ask one are passed over."""

    source_type: SourceType
    kind: Kind
    verdict: VerdictKind
    findings: frozenset[str] = frozenset()
    class_code: str | None = None
    severity: str | None = None
    urgent: bool = False
    grid_id: str | None = None
    asked: bool = False


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_OneOrMore = BeforeValidator(_one_or_more)


class Conditions(BaseModel):
    """What an entry must be for a rule to hold. Each list is an "any of", and one value may stand for a list of one.

    An absent key matches anything. An unknown key is refused rather than ignored: a rule with a misspelt condition
    would otherwise take every entry.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source_type: Annotated[list[SourceType] | None, _OneOrMore] = None
    kind: Annotated[list[Kind] | None, _OneOrMore] = None
    verdict: Annotated[list[VerdictKind] | None, _OneOrMore] = None
    finding: Annotated[list[str] | None, _OneOrMore] = None
    class_prefix: Annotated[list[str] | None, _OneOrMore] = None
    severity: Annotated[list[str] | None, _OneOrMore] = None
    territory_prefix: Annotated[list[str] | None, _OneOrMore] = None
    urgent: bool | None = None

    def hold(self, facts: Facts) -> bool:
        """Whether every condition that is set holds."""
        return (
            _among(facts.source_type, self.source_type)
            and _among(facts.kind, self.kind)
            and _among(facts.verdict, self.verdict)
            and (self.finding is None or not facts.findings.isdisjoint(self.finding))
            and _begins(facts.class_code, self.class_prefix)
            and _among(facts.severity, self.severity)
            and _begins(facts.grid_id, self.territory_prefix)
            and self.urgent in (None, facts.urgent)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. `queue_code` is a queue, or the word `district` or `worker`."""

    id: int
    position: int
    conditions: Conditions
    queue_code: str
    standard_scheme: str
    standard_code: str


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """Where a case goes: the rule that decided, the queue, and the registration standard it is measured by."""

    rule_id: int
    queue_code: str
    standard_scheme: str
    standard_code: str

    @property
    def to_worker(self) -> bool:
        """Whether a worker is asked, within the limit of the standard, instead of a case being opened."""
        return self.queue_code == WORKER


def route(facts: Facts, rules: Iterable[Rule], queues: Mapping[str, str]) -> RoutingDecision | None:
    """The decision of the first rule by position (then id) that holds; None where the entry needs no case.

    `queues` maps the code of every queue to the territory it serves. `LookupError` where the rule's queue is not
    among them.
    """
    for rule in sorted(rules, key=lambda rule: (rule.position, rule.id)):
        if rule.queue_code == WORKER and facts.asked:
            continue
        if rule.conditions.hold(facts):
            queue = queue_of(rule.queue_code, facts.grid_id, queues)
            return RoutingDecision(rule.id, queue, rule.standard_scheme, rule.standard_code)
    return None


def queue_of(code: str, grid_id: str | None, queues: Mapping[str, str]) -> str:
    """The queue a rule means. `district` is the hotline queue of the narrowest territory around the grid, so that of
    its district or, where the district has none, the city's; without a grid it is the widest, the city's. `worker` is
    itself."""
    if code == WORKER:
        return code
    if code != DISTRICT:
        if code not in queues:
            raise LookupError(code)
        return code
    hotline = {queue: served for queue, served in queues.items() if queue.startswith(HOTLINE)}
    if grid_id is None:
        return min(hotline, key=lambda queue: (len(hotline[queue]), queue))
    around = [queue for queue, served in hotline.items() if grid_id.startswith(served)]
    return max(around, key=lambda queue: (len(hotline[queue]), queue))


def _among(value: str | None, wanted: Collection[str] | None) -> bool:
    return wanted is None or value in wanted


def _begins(value: str | None, prefixes: list[str] | None) -> bool:
    return prefixes is None or (value is not None and value.startswith(tuple(prefixes)))
